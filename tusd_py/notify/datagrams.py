"""Short messages between the processes of one host that share a directory. What they mean stands elsewhere."""

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

#: So many are read before other work has its turn.
_MESSAGES_A_TURN = 64

_NAME = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}\.sock")


def is_mailbox_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


class Mailbox:
    """A unix datagram socket in ``directory``, read on the running event loop; ``hear`` gets each message.

    Messages may be lost: the receiver's queue is full, or the file system knows no sockets. Whoever relies on an
    answer asks again.
    """

    def __init__(self, directory: Path, hear: Callable[[bytes], None]) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}.sock"
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._path = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # no sockets on this file system: every message is lost
            self._socket.bind(self._address(self.name))
        self._loop.add_reader(self._socket.fileno(), self._read)

    def tell(self, name: str, message: bytes) -> None:
        """Send ``message`` to one mailbox; one whose process has died is removed."""
        try:
            self._socket.sendto(message, self._address(name))
        except ConnectionRefusedError:
            self._remove(name)
        except OSError:
            pass  # gone, or too busy to take it now: messages may be lost

    def tell_all(self, message: bytes) -> None:
        """Send ``message`` to every other mailbox of the directory."""
        for name in os.listdir(self._directory):
            if name != self.name and is_mailbox_name(name):
                self.tell(name, message)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._remove(self.name)
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptors alone: for a forked child, whose parent still uses the mailbox."""
        self._socket.close()
        os.close(self._directory)

    def _read(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            try:
                message = self._socket.recv(MESSAGE_BYTES_MAX)
            except OSError:
                return
            self._hear(message)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def _address(self, name: str) -> str:
        # The path of a socket has at most 107 bytes, and a data directory may well be longer.
        if sys.platform == "linux":
            return f"/proc/self/fd/{self._directory}/{name}"
        return str(self._path / name)
