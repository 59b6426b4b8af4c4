"""What systemd gives a service and wants to hear from it: sd_listen_fds(3) and sd_notify(3), without its library."""

from __future__ import annotations

import socket
from collections.abc import Mapping

_FIRST_DESCRIPTOR = 3


class NothingHandedOver(Exception):
    """There is no socket to serve on; the text says what is amiss."""


def sockets(environ: Mapping[str, str], process_id: int) -> list[socket.socket]:
    """The listening sockets that systemd opened for this process. Raises ``NothingHandedOver``."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(process_id) or not count.isdecimal() or int(count) < 1:
        raise NothingHandedOver("systemd handed over no socket (LISTEN_FDS is not set for this process)")
    return [_listening(descriptor) for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))]


def _listening(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise NothingHandedOver(f"descriptor {descriptor} is no socket") from error
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise NothingHandedOver(f"descriptor {descriptor} is no listening stream socket (ListenStream=)")
    listener.set_inheritable(False)
    return listener


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell the service manager ``state`` (``READY=1``, ``STOPPING=1``), if one wants to know."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
        try:
            teller.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            teller.send(state.encode())
        except OSError:
            return  # Nobody listens any more; the service goes on all the same.
