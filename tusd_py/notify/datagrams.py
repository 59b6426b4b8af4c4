"""Short messages between the processes of one host that share a directory, over unix datagram sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

MESSAGE_BYTES_MAX = 200

#: This many messages are read before other work on the event loop runs.
_MESSAGES_PER_TURN = 64

_NAME = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}\.sock")


def is_endpoint_name(name: str) -> bool:
    """Whether ``name`` has the form of the names of ``DatagramEndpoint``."""
    return _NAME.fullmatch(name) is not None


def socket_path(directory: Path, descriptor: int, name: str) -> str:
    """The path by which to reach the socket ``name`` in ``directory``, which is open as ``descriptor``."""
    # The path of a socket has at most 107 bytes, and that of a data directory may well be longer.
    root = f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else str(directory)
    return f"{root}/{name}"


class DatagramEndpoint:
    """The ``Notifier`` of a directory: a socket in it, read on the running event loop.

    ``on_message`` is called with each message, of at most ``MESSAGE_BYTES_MAX`` bytes. Messages are lost if the
    receiver's queue is full, or if the file system has no sockets.
    """

    def __init__(self, directory: Path, on_message: Callable[[bytes], None]) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}.sock"
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._path = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # no sockets on this file system: every message is lost
            self._socket.bind(self._address(self.name))
        self._loop.add_reader(self._socket.fileno(), self._read)

    def is_address(self, name: str) -> bool:
        return is_endpoint_name(name)

    def send(self, name: str, message: bytes) -> None:
        """Send ``message`` to one endpoint; the socket of a process that has died is removed."""
        try:
            self._socket.sendto(message, self._address(name))
        except ConnectionRefusedError:
            self._remove(name)
        except OSError:
            pass  # gone, or its queue is full: messages may be lost

    def broadcast(self, message: bytes) -> None:
        for name in os.listdir(self._directory):
            if name != self.name and is_endpoint_name(name):
                self.send(name, message)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._remove(self.name)
        self.abandon()

    def abandon(self) -> None:
        self._socket.close()
        os.close(self._directory)

    def _read(self) -> None:
        for _ in range(_MESSAGES_PER_TURN):
            try:
                message = self._socket.recv(MESSAGE_BYTES_MAX)
            except OSError:
                return
            self._on_message(message)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def _address(self, name: str) -> str:
        return socket_path(self._path, self._directory, name)
