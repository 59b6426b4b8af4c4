"""resumable-upload in its fastest configuration: its ASGI application with uvicorn, uvloop and httptools.

It runs in an environment of its own, takes the data directory as its argument, and prints its endpoint in the same
format as tusd-py, so that the harness can read it.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from resumable_upload import SQLiteStorage, TusServer  # type: ignore[import-not-found]  # in the peer's environment
from resumable_upload.asgi import TusASGIApp  # type: ignore[import-not-found]  # in the peer's environment


def main() -> None:
    """Serve the directory named by the first argument on a free port."""
    directory = sys.argv[1]
    storage = SQLiteStorage(db_path=f"{directory}/uploads.db", upload_dir=f"{directory}/uploads")
    app = TusASGIApp(TusServer(storage=storage, base_path="/files", enable_downloads=True))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning", lifespan="off")
    print(f"tus endpoint  http://127.0.0.1:{listener.getsockname()[1]}/files/", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
