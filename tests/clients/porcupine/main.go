// Checks histories of an offset that only grows with Porcupine, as a referee of tests/support/histories.py.
// Reads a JSON array of histories, each an array of operations; prints a JSON array of verdicts.
package main

import (
	"encoding/json"
	"log"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	IsRead  bool   `json:"is_read"`
	Started int64  `json:"started"`
	Ended   *int64 `json:"ended"` // null if the client does not know the outcome
	Start   int    `json:"start"`
	Stop    int    `json:"stop"`
}

var register = porcupine.Model{
	Init: func() interface{} { return 0 },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		offset, op := state.(int), input.(operation)
		return offset == op.Start, op.Stop
	},
}

func main() {
	var histories [][]operation
	if err := json.NewDecoder(os.Stdin).Decode(&histories); err != nil {
		log.Fatal(err)
	}
	verdicts := make([]bool, 0, len(histories))
	for _, history := range histories {
		operations := make([]porcupine.Operation, 0, len(history))
		for client, op := range history {
			ended := int64(math.MaxInt64)
			if op.Ended != nil {
				ended = *op.Ended
			}
			operations = append(operations, porcupine.Operation{ClientId: client, Input: op, Call: op.Started, Return: ended})
		}
		verdicts = append(verdicts, porcupine.CheckOperations(register, operations))
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		log.Fatal(err)
	}
}
