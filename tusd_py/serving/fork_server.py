"""The fork server of multiprocessing: a process that has imported everything, and forks the server processes.

The server processes share its memory and start at once. The parent itself cannot be forked: it has threads, and a fork
copies what other threads do half-way.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from multiprocessing import get_context, util
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

#: As long as the names that multiprocessing appends to the directory: a path of a socket has at most 107 bytes.
_PROBE = "listener-12345678"


class ForkServer:
    """Starts processes of ``context``, on Linux from a fork server that has imported the module ``module``.

    The fork server listens on a socket in the directory of temporary files, or else in ``directory``. Where neither can
    have one, and on other systems than Linux, each process is a new interpreter.
    """

    def __init__(self, module: str, directory: Path) -> None:
        self.context: ForkServerContext | SpawnContext
        self._folder = _usable(directory) if sys.platform == "linux" else None
        if self._folder is None:
            self.context = get_context("spawn")
        else:
            self.context = get_context("forkserver")
            self.context.set_forkserver_preload([module])

    def start(self, process: BaseProcess) -> None:
        """Start a process of ``context``; the first one also starts the fork server."""
        before = tempfile.tempdir
        tempfile.tempdir = self._folder or before
        try:
            process.start()
        finally:
            tempfile.tempdir = before

    def discard(self) -> None:
        """Remove the directory of the socket, before a new program takes the place of this one.

        If the program ends by itself, multiprocessing removes it.
        """
        if self._folder is not None:
            shutil.rmtree(util.get_temp_dir(), ignore_errors=True)


def _usable(directory: Path) -> str | None:
    """Where multiprocessing can make a directory with a socket: that of temporary files, or else ``directory``."""
    for parent in (None, directory):
        try:
            folder = tempfile.mkdtemp(prefix="pymp-", dir=parent)
        except OSError:
            continue
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(f"{folder}/{_PROBE}")
            return str(Path(folder).parent)
        except OSError:
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return None
