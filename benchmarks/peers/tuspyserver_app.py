"""tuspyserver in its fastest configuration: FastAPI with uvicorn, uvloop and httptools, no access log.

It runs in an environment of its own, takes the data directory as its argument, and prints its endpoint in the same
format as tusd-py, so that the harness can read it.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router  # type: ignore[import-not-found]  # in the peer's environment


def main() -> None:
    """Serve the directory named by the first argument on a free port."""
    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=sys.argv[1]))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning", lifespan="off")
    print(f"tus endpoint  http://127.0.0.1:{listener.getsockname()[1]}/files/", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
