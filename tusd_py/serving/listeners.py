"""Sockets to listen on, and TLS for them: opened before a process serves, so that what is wrong is told in words."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tusd_py.serving import systemd
from tusd_py.settings import Server

_BACKLOG = 2048
#: Owner and group: a proxy joins the group. Whoever may connect may upload.
_SOCKET_MODE = 0o660


class CannotListen(Exception):
    """The sockets asked for cannot be had; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Sockets that listen; ``close`` also removes the file of a unix socket that was made here."""

    sockets: list[socket.socket]
    unix_path: Path | None = None
    unix_inode: int = 0

    @property
    def address(self) -> str:
        """Where a client on this machine reaches the first socket: ``127.0.0.1:8080``, ``unix:/run/tus.sock:``."""
        first = self.sockets[0]
        if first.family == socket.AF_UNIX:
            return f"unix:{first.getsockname()}:"
        host, port = first.getsockname()[:2]
        # "Any address" is none that one can go to.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Stop listening."""
        for listener in self.sockets:
            listener.close()
        with suppress(FileNotFoundError):
            # A file of the same name may by now belong to a newer server.
            if self.unix_path is not None and self.unix_path.stat().st_ino == self.unix_inode:
                self.unix_path.unlink()


def listen(server: Server, environ: Mapping[str, str], process_id: int) -> Listening:
    """The sockets these settings ask for, listening. Raises ``CannotListen``."""
    if server.systemd_socket:
        try:
            return Listening(systemd.sockets(environ, process_id))
        except systemd.NothingHandedOver as error:
            raise CannotListen(f"server.systemd_socket is true, but {error}") from error
    if server.unix_socket:
        path = Path(server.unix_socket)
        return Listening([_unix(path)], path, path.stat().st_ino)
    return Listening(_tcp(server.host, server.port))


def tls_context(server: Server) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the certificate of the settings, or ``None``. Raises ``CannotListen``."""
    if not server.tls_certificate:
        return None
    for name, path in (("server.tls_certificate", server.tls_certificate), ("server.tls_key", server.tls_key)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise CannotListen(f"{name} {path} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(server.tls_certificate, server.tls_key)
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM data in it").replace("_", " ").lower()
        raise CannotListen(
            f"server.tls_certificate {server.tls_certificate} and server.tls_key {server.tls_key} "
            f"make no certificate and key: {reason}"
        ) from error
    return context


def _tcp(host: str, port: int) -> list[socket.socket]:
    """Every address the host name stands for, on one port; with port 0 the first address chooses it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"server.host {host!r} is no address of this machine: {error.strerror}") from error
    sockets: list[socket.socket] = []
    reason = ""
    for family, _, _, _, target in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(socket.create_server((str(target[0]), chosen), family=family, backlog=_BACKLOG))
        except OSError as error:
            reason = f"cannot listen on {host} port {chosen}: {os.strerror(error.errno or 0).lower()}"
            # A name may stand for an IPv6 address on a machine that has none; one address of it is enough.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
            reason = "" if sockets else reason
    if reason or not sockets:
        for listener in sockets:
            listener.close()
        raise CannotListen(reason)
    return sockets


def _unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        # Before listen(), so that nobody slips in while the mode is still what the umask made it.
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on the unix socket {path}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody answers any more; leave everything else to bind, which refuses it."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
