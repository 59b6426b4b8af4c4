"""systemd's socket activation and readiness protocol, sd_listen_fds(3) and sd_notify(3), without libsystemd."""

from __future__ import annotations

import socket
from collections.abc import Mapping

_FIRST_DESCRIPTOR = 3


class NoSocketPassed(Exception):
    """systemd passed no usable socket; the text says why."""


def sockets(environ: Mapping[str, str], process_id: int) -> list[socket.socket]:
    """Return the listening sockets that systemd passed to this process. Raises ``NoSocketPassed``."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(process_id) or not count.isdecimal() or int(count) < 1:
        raise NoSocketPassed("systemd passed no socket (LISTEN_FDS is not set for this process)")
    return [_listener(descriptor) for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))]


def _listener(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise NoSocketPassed(f"descriptor {descriptor} is not a socket") from error
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise NoSocketPassed(f"descriptor {descriptor} is not a listening stream socket (ListenStream=)")
    listener.set_inheritable(False)
    return listener


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send ``state`` (``READY=1``, ``STOPPING=1``) to the service manager if ``NOTIFY_SOCKET`` names one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            sender.send(state.encode())
        except OSError:
            return  # The service manager does not listen; that must not stop the server.
