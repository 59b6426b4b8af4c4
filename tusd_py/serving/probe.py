"""Asks a running server for ``/healthz`` at the address that its settings name. Loads no HTTP client: it runs often."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

from tusd_py.settings import ServerSettings

_TIMEOUT_SECONDS = 2.0
_STATUS_LINE_BYTES_MAX = 1024
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class NotHealthy(Exception):
    """The server cannot be reached or does not answer with 200; the text says which, in one sentence."""


def probe(server: ServerSettings, timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
    """Ask the listener that ``server`` configures and return the URL that answered with 200. Raises ``NotHealthy``.

    Name lookup, connection, TLS handshake and answer together take at most ``timeout_seconds``.
    """
    if not server.unix_socket and server.port == 0:
        raise NotHealthy(
            "server.port is 0, which names no port to connect to: pass the one that the server printed as --port"
        )
    url = _url(server)
    lines: list[bytes] = []
    problems: list[str] = []

    def ask() -> None:
        try:
            lines.append(_status_line(server, time.monotonic() + timeout_seconds))
        except TimeoutError:
            return
        except OSError as error:
            problems.append(error.strerror or str(error))

    # In a thread: no timeout of a socket bounds a name lookup.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_seconds)
    if problems:
        raise NotHealthy(f"{url} cannot be reached: {problems[0]}")
    if not lines:
        raise NotHealthy(f"{url} did not answer within {timeout_seconds:g} s")
    version, _, rest = lines[0].partition(b" ")
    if not version.startswith(b"HTTP/"):
        raise NotHealthy(f"{url} closed the connection or answered something other than HTTP")
    if rest[:3] != b"200":
        raise NotHealthy(f"{url} answered with status {rest[:3].decode('ascii', 'replace')}")
    return url


def _url(server: ServerSettings) -> str:
    scheme = "https" if server.tls_certificate else "http"
    if server.unix_socket:
        return f"{scheme}://unix:{server.unix_socket}:/healthz"
    host = _host(server)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/healthz"


def _host(server: ServerSettings) -> str:
    """Return an address to connect to: loopback where the server listens on every address."""
    try:
        address = ipaddress.ip_address(server.host)
    except ValueError:
        return server.host
    if not address.is_unspecified:
        return server.host
    return "127.0.0.1" if address.version == 4 else "::1"


def _status_line(server: ServerSettings, deadline: float) -> bytes:
    """Return the first line of the answer, empty if there is none. Raises ``OSError``, also for TLS that fails."""
    with _connected(server, deadline) as connection:
        connection.sendall(_REQUEST)
        received = b""
        while b"\n" not in received and len(received) < _STATUS_LINE_BYTES_MAX:
            connection.settimeout(_left(deadline))
            piece = connection.recv(_STATUS_LINE_BYTES_MAX)
            if not piece:
                break
            received += piece
    return received.partition(b"\n")[0]


def _connected(server: ServerSettings, deadline: float) -> socket.socket:
    if server.unix_socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_left(deadline))
        connection.connect(server.unix_socket)
    else:
        connection = socket.create_connection((_host(server), server.port), timeout=_left(deadline))
    if not server.tls_certificate:
        return connection
    import ssl  # only where it is needed: it takes a while to load

    context = ssl.create_default_context()
    # The certificate names the server as clients see it, not this address. Nothing secret is sent or believed here.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def _left(deadline: float) -> float:
    """Return the seconds until ``deadline``. Raises ``TimeoutError`` when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
