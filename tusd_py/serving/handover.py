"""Replaces the running program by a new one in the same process, which takes over the listening sockets.

Connections that arrive meanwhile wait in the queue of the sockets: none is refused, and the process keeps its id.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

#: Names the sockets that the new program inherits. It is not a setting and lacks their prefix.
VARIABLE = "_TUSD_PY_HANDOVER"


def exec_again(sockets: Sequence[socket.socket], environ: MutableMapping[str, str], child: int | None) -> NoReturn:
    """Run the program with the same arguments in this process. Raises ``OSError``; then nothing has changed.

    ``child`` is a process that ends when this program does; the new program reaps it.
    """
    for listener in sockets:
        listener.set_inheritable(True)
    environ[VARIABLE] = json.dumps({"sockets": [listener.fileno() for listener in sockets], "child": child})
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(environ))
    finally:
        environ.pop(VARIABLE, None)
        for listener in sockets:
            listener.set_inheritable(False)


def take_over(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that an earlier program left in this process; none if it was started afresh.

    Its children are reaped when they end. Call this before any other process is started.
    """
    inherited = json.loads(environ.pop(VARIABLE, "null"))
    if inherited is None:
        return []
    sockets = [socket.socket(fileno=descriptor) for descriptor in inherited["sockets"]]
    for listener in sockets:
        listener.set_inheritable(False)
    children = _children() or [child for child in (inherited["child"],) if child is not None]
    threading.Thread(target=_reap, args=(children,), name="reaper", daemon=True).start()
    return sockets


def _children() -> list[int]:
    """All children of this process, also those of libraries; none where Linux does not list them."""
    try:
        return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _reap(children: list[int]) -> None:
    for child in children:
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
