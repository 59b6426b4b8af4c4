"""Opens the listening sockets and loads the certificate; what cannot be used is reported as one sentence."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tusd_py.serving import systemd
from tusd_py.settings import ServerSettings

_BACKLOG = 2048
#: Owner and group: a proxy can be a member of the group. A process that can connect can upload.
_SOCKET_MODE = 0o660


class ListenError(Exception):
    """A socket or certificate cannot be used; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets; ``close`` also removes the file of a unix socket that ``listen`` created."""

    sockets: list[socket.socket]
    unix_path: Path | None = None
    unix_inode: int = 0

    @property
    def address(self) -> str:
        """The authority of URLs for a local client; ``localhost`` over a unix socket (``curl --unix-socket``)."""
        first = self.sockets[0]
        if first.family == socket.AF_UNIX:
            return "localhost"
        host, port = first.getsockname()[:2]
        # A client cannot connect to the wildcard address.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Close the sockets."""
        for listener in self.sockets:
            listener.close()
        with suppress(FileNotFoundError):
            # A newer server may have replaced the file.
            if self.unix_path is not None and self.unix_path.stat().st_ino == self.unix_inode:
                self.unix_path.unlink()


def listen(
    server: ServerSettings, environ: Mapping[str, str], process_id: int, inherited: Sequence[socket.socket] = ()
) -> Listeners:
    """Open the sockets that the settings name, or use ``inherited`` if they name the same. Raises ``ListenError``."""
    if inherited and _are_those(inherited, server):
        path = None if server.systemd_socket or not server.unix_socket else Path(server.unix_socket)
        return Listeners([*inherited], path, 0 if path is None else path.stat().st_ino)
    for listener in inherited:
        listener.close()
    if server.systemd_socket:
        try:
            return Listeners(systemd.sockets(environ, process_id))
        except systemd.NoSocketPassed as error:
            raise ListenError(f"server.systemd_socket is true, but {error}") from error
    if server.unix_socket:
        path = Path(server.unix_socket)
        return Listeners([_unix(path)], path, path.stat().st_ino)
    return Listeners(_tcp(server.host, server.port))


def _are_those(sockets: Sequence[socket.socket], server: ServerSettings) -> bool:
    """Whether the open sockets are the ones that the settings name."""
    if server.systemd_socket:
        return True
    names = {
        listener.getsockname() if listener.family == socket.AF_UNIX else listener.getsockname()[:2]
        for listener in sockets
    }
    if server.unix_socket:
        return names == {server.unix_socket} and Path(server.unix_socket).is_socket()
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    hosts = {str(target[0]) for *_, target in found}
    return all(host in hosts and server.port in (0, port) for host, port in names)


def tls_context(server: ServerSettings) -> ssl.SSLContext | None:
    """The TLS context (1.2 or newer) for the configured certificate; ``None`` without one. Raises ``ListenError``."""
    if not server.tls_certificate:
        return None
    for name, path in (("server.tls_certificate", server.tls_certificate), ("server.tls_key", server.tls_key)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise ListenError(f"{name} {path} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(server.tls_certificate, server.tls_key)
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM data in it").replace("_", " ").lower()
        raise ListenError(
            f"server.tls_certificate {server.tls_certificate} and server.tls_key {server.tls_key} "
            f"are not a certificate and its key: {reason}"
        ) from error
    return context


def _tcp(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of ``host``, all on one port; with port 0 the first socket gets a free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"server.host {host!r} is not an address of this machine: {error.strerror}") from error
    sockets: list[socket.socket] = []
    reason = ""
    for family, _, _, _, target in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(socket.create_server((str(target[0]), chosen), family=family, backlog=_BACKLOG))
        except OSError as error:
            reason = f"cannot listen on {host} port {chosen}: {os.strerror(error.errno or 0).lower()}"
            # "localhost" may resolve to ::1 on a machine without IPv6; one usable address is enough.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
            reason = "" if sockets else reason
    if reason or not sockets:
        for listener in sockets:
            listener.close()
        raise ListenError(reason)
    return sockets


def _unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        # Before listen(): no client can connect while the file still has the mode of the umask.
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on the unix socket {path}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket file without a listening process. Anything else at the path makes ``bind`` fail."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
