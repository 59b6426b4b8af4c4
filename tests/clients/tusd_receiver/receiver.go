// A receiver of hooks that is compiled from tusd's own types. It refuses what they do not know, answers with them, and
// prints what it has decoded: one JSON object a line.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/tus/tusd/v2/pkg/hooks"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	answers := make(chan hooks.HookRequest, 1000)
	go func() {
		for request := range answers {
			_ = out.Encode(request)
		}
	}()
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		var request hooks.HookRequest
		if err := decoder.Decode(&request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answers <- request
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(hooks.HookResponse{})
	})))
}
