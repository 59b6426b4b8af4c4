"""One HTTP/1.1 connection held by hand: writes exactly the bytes it is given and reads whatever comes back.

A library would refuse to send half of what the cases need (bad headers, cut bodies, two requests at once),
so framing is done here. What a request means, and whether an answer is right, is not.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

_PIECE_BYTES = 65536
_HEAD_BYTES_MAX = 262144


@dataclass(frozen=True)
class Address:
    """Where the server listens, taken from its URL."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The value of ``Host``: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """A final response, with the status codes of the interim ones before it."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    interim: tuple[int, ...] = ()
    seconds: float = 0.0

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The header's value, several joined by a comma as HTTP allows, ``None`` when absent."""
        values = self.all(name)
        return ", ".join(values) if values else None


@dataclass(frozen=True)
class NoAnswer:
    """The connection ended, broke or stayed silent before a final response was whole."""

    what: str
    interim: tuple[int, ...] = ()


class _Ended(Exception):
    """The connection gives no more bytes; the text says how it ended."""


class Wire:
    """A connection. Every wait is bounded by ``patience_seconds``; nothing here raises for what a server does."""

    def __init__(self, address: Address, patience_seconds: float) -> None:
        self.patience_seconds = patience_seconds
        self.broken: str | None = None  # why writing failed, if it did
        self.sent_bytes = 0
        self._received = b""
        self._socket: socket.socket | None = None
        try:
            self._socket = _connect(address, patience_seconds)
        except OSError as error:
            self.broken = f"no connection: {error}"

    def send(self, data: bytes, *, until_answered: bool = False) -> None:
        """Write ``data``, however slowly it is taken; with ``until_answered`` stop as soon as the server says
        anything."""
        deadline = time.monotonic() + self.patience_seconds
        view = memoryview(data)
        while view and self.broken is None and self._socket is not None:
            readable, writable, _ = select.select([self._socket], [self._socket], [], 0.5)
            if until_answered and (readable or self._received):
                return
            try:
                if writable:
                    count = self._socket.send(view[:_PIECE_BYTES])
                    self.sent_bytes += count
                    view = view[count:]
            except OSError as error:
                self.broken = f"writing failed: {error.strerror or error}"
            if view and time.monotonic() > deadline:
                self.broken = f"the server stopped reading after {self.sent_bytes} bytes"

    def half_close(self) -> None:
        """End our direction only (FIN); the server may still answer."""
        self._quietly(lambda raw: raw.shutdown(socket.SHUT_WR))

    def reset(self) -> None:
        """End both directions at once, by RST."""
        self._quietly(lambda raw: raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)))
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def is_closed_within(self, seconds: float) -> bool:
        """True when the server ends the connection in that time; bytes that come meanwhile are dropped."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._more(deadline)
        except _Ended as end:
            return "no bytes for" not in str(end)

    def interim(self, seconds: float) -> int | None:
        """The status of the interim response that comes within ``seconds``, if one does."""
        deadline = time.monotonic() + seconds
        try:
            while b"\r\n\r\n" not in self._received:
                self._more(deadline)
        except _Ended:
            return None
        status = int(self._received[9:12]) if self._received[9:12].isdigit() else 0
        if not 100 <= status < 200:
            return None
        self._received = self._received.split(b"\r\n\r\n", 1)[1]
        return status

    def answer(self, method: str, seconds: float | None = None) -> Answer | NoAnswer:
        """Read one final response to a request with ``method``."""
        started = time.monotonic()
        deadline = started + (self.patience_seconds if seconds is None else seconds)
        interim: list[int] = []
        try:
            while True:
                status, reason, headers = self._head(deadline)
                if not 100 <= status < 200:
                    break
                interim.append(status)
            answer = Answer(status, reason, headers, b"", tuple(interim))
            body = b"" if method == "HEAD" or status in (204, 304) else self._body(answer, deadline)
        except _Ended as end:
            return NoAnswer(self.broken or str(end), tuple(interim))
        return Answer(status, reason, headers, body, tuple(interim), time.monotonic() - started)

    def _head(self, deadline: float) -> tuple[int, str, tuple[tuple[str, str], ...]]:
        while b"\r\n\r\n" not in self._received:
            if len(self._received) > _HEAD_BYTES_MAX:
                raise _Ended("an endless response head")
            self._more(deadline)
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise _Ended(f"no status line but {first[:60]!r}")
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return int(parts[1]), parts[2] if len(parts) > 2 else "", headers

    def _body(self, head: Answer, deadline: float) -> bytes:
        if (head.one("Transfer-Encoding") or "").lower().endswith("chunked"):
            return self._chunks(deadline)
        length = head.one("Content-Length")
        if length is not None and length.isdigit():
            return self._take(int(length), deadline)
        try:
            while True:
                self._more(deadline)
        except _Ended:
            body, self._received = self._received, b""
            return body

    def _chunks(self, deadline: float) -> bytes:
        body = b""
        while True:
            size_line = self._line(deadline)
            try:
                size = int(size_line.split(b";")[0], 16)
            except ValueError:
                raise _Ended(f"a broken chunk {size_line[:40]!r}") from None
            if size == 0:
                while self._line(deadline):
                    pass
                return body
            body += self._take(size, deadline)
            self._line(deadline)

    def _line(self, deadline: float) -> bytes:
        while b"\r\n" not in self._received:
            self._more(deadline)
        line, self._received = self._received.split(b"\r\n", 1)
        return line

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._received) < count:
            self._more(deadline)
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _more(self, deadline: float) -> None:
        if self._socket is None:
            raise _Ended(self.broken or "not connected")
        left = deadline - time.monotonic()
        if left <= 0:
            raise _Ended(f"no bytes for {self.patience_seconds:g} s" if not self._received else "no bytes for a while")
        try:
            self._socket.settimeout(left)
            piece = self._socket.recv(_PIECE_BYTES)
        except TimeoutError:
            raise _Ended(f"no bytes for {left:.1f} s") from None
        except OSError as error:
            raise _Ended(f"connection broken: {error.strerror or error}") from None
        if not piece:
            raise _Ended("connection closed without an answer")
        self._received += piece

    def _quietly(self, act: Callable[[socket.socket], None]) -> None:
        if self._socket is not None:
            try:
                act(self._socket)
            except OSError as error:
                self.broken = f"writing failed: {error.strerror or error}"


def _connect(address: Address, patience_seconds: float) -> socket.socket:
    raw = socket.create_connection((address.host, address.port), timeout=patience_seconds)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=address.host)
    return raw
