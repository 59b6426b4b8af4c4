"""The tus client of the cases. It records each request in the dialogue, and uses a new connection for each by default.

Headers are keyword arguments (``upload_offset=5``); ``None`` takes a default away. What answers should be: ``cases/``.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from tests.conformance.dialogue import Dialogue, Exchange, SetupFailed, header_name
from tests.conformance.subject import Subject
from tests.conformance.wire import NoAnswer, Wire

TUS_TYPE = "application/offset+octet-stream"
#: str, int, bytes or None. ``Any``, because headers are unpacked into calls that have other arguments too.
Value = Any
Pairs = Iterable[tuple[str, Value]]


@dataclass(frozen=True)
class Chunked:
    """A body of unknown length, in these chunks; ``trailers`` follow the last one."""

    pieces: tuple[bytes, ...]
    trailers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in self.pieces if piece)
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.trailers.items())
        return chunks + b"0\r\n" + fields.encode() + b"\r\n"


def chunked(*pieces: bytes, **trailers: str) -> Chunked:
    return Chunked(pieces, {header_name(key): value for key, value in trailers.items()})


def metadata(**pairs: str) -> str:
    """An ``Upload-Metadata`` value with these keys and values."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def fields(**headers: Value) -> dict[str, Value]:
    """Headers that several requests of a case share, to be unpacked into calls."""
    return headers


class Stream:
    """A connection on which a case writes piece by piece and reads answers when it likes."""

    def __init__(self, tus: Tus, wire: Wire) -> None:
        self.wire = wire
        self._tus = tus
        self._request_lines: list[str] = []
        self._method = ""

    def begin(
        self, method: str, target: str, *, extra: Pairs = (), piecewise: bool = False, **headers: Value
    ) -> Stream:
        """Write the head of a request, ``piecewise`` byte by byte; only ``Host`` and ``Tus-Resumable`` are added."""
        lines = self._tus.head_lines(method, target, extra, headers)
        self._method = method
        self._request_lines = _shown(lines)
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        for start in range(0, len(head), 1 if piecewise else len(head)):
            self.wire.send(head[start : start + (1 if piecewise else len(head))])
        return self

    def send(self, data: bytes, *, until_answered: bool = False) -> Stream:
        self._request_lines.append(f"[{len(data)} bytes]" if len(data) > 40 else f"[{data!r}]")
        self.wire.send(data, until_answered=until_answered)
        return self

    def chunk(self, data: bytes) -> Stream:
        return self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> Stream:
        return self.send(b"0\r\n\r\n")

    def taken_up(self) -> Stream:
        """Wait for ``100 Continue``, so that the server is known to have begun with a body (not at all if it sends
        none)."""
        self.wire.interim(0.4)
        return self

    def half_close(self) -> Stream:
        self._request_lines.append("[FIN, still reading]")
        self.wire.half_close()
        return self

    def cut(self) -> None:
        """Close (FIN both ways) and record that there was no answer to wait for."""
        self._request_lines.append("[connection closed]")
        self.wire.half_close()
        self.wire.close()
        self._tus.record(Exchange(self._request_lines, NoAnswer("not awaited")))

    def reset(self) -> None:
        self._request_lines.append("[connection reset]")
        self.wire.reset()
        self._tus.record(Exchange(self._request_lines, NoAnswer("not awaited")))

    def answer(self, seconds: float | None = None) -> Exchange:
        """The next final response on this connection, recorded."""
        return self._tus.record(Exchange(self._request_lines, self.wire.answer(self._method, seconds)))


class Tus:
    """One case's side of the conversation with the server."""

    def __init__(self, subject: Subject, dialogue: Dialogue) -> None:
        self.subject = subject
        self.dialogue = dialogue
        self.collection = subject.path
        self._wires: list[Wire] = []
        self._is_setup = False

    # -- requests -----------------------------------------------------------------------------------------------------

    def post(
        self, body: bytes | Chunked = b"", target: str | None = None, *, extra: Pairs = (), **h: Value
    ) -> Exchange:
        return self.request("POST", target or self.collection, body, extra=extra, **h)

    def head(self, target: str, *, extra: Pairs = (), **headers: Value) -> Exchange:
        return self.request("HEAD", target, extra=extra, **headers)

    def get(self, target: str, **headers: Value) -> Exchange:
        return self.request("GET", target, **headers)

    def patch(self, target: str, body: bytes | Chunked = b"", *, extra: Pairs = (), **headers: Value) -> Exchange:
        return self.request("PATCH", target, body, extra=extra, **{"content_type": TUS_TYPE, **headers})

    def delete(self, target: str, *, extra: Pairs = (), **headers: Value) -> Exchange:
        return self.request("DELETE", target, extra=extra, **headers)

    def options(self, target: str | None = None, **headers: Value) -> Exchange:
        return self.request("OPTIONS", target or self.collection, **{"tus_resumable": None, **headers})

    def request(
        self, method: str, target: str, body: bytes | Chunked | None = None, *, extra: Pairs = (), **headers: Value
    ) -> Exchange:
        """Ask on a connection of its own, with the body's framing added unless ``headers`` say otherwise."""
        defaults: dict[str, Value] = {}
        if isinstance(body, Chunked):
            defaults["transfer_encoding"] = "chunked"
            if body.trailers:
                defaults["trailer"] = ", ".join(body.trailers)
        elif body is not None:
            defaults["content_length"] = len(body)
        stream = self.connect().begin(method, target, extra=extra, **{**defaults, **headers})
        data = body.encoded() if isinstance(body, Chunked) else body or b""
        if data:
            stream.send(data, until_answered=True)
        exchange = stream.answer()
        stream.wire.close()
        return exchange

    def connect(self) -> Stream:
        wire = Wire(self.subject.address, self.subject.patience_seconds)
        self._wires.append(wire)
        return Stream(self, wire)

    def begin_patch(self, target: str, **headers: Value) -> Stream:
        """A PATCH whose body the case writes itself, once the server is known to be waiting for it."""
        stream = self.connect().begin("PATCH", target, content_type=TUS_TYPE, expect="100-continue", **headers)
        return stream.taken_up()

    # -- what most cases start from -----------------------------------------------------------------------------------

    def create(self, length: int | None = None, body: bytes = b"", **headers: Value) -> str:
        """Make an upload, holding ``body`` already, and return the path of its URL. Raises ``SetupFailed``."""
        self._is_setup = True
        try:
            if length is not None:
                headers = {"upload_length": length, **headers}
            created = self.post(**headers).expect(201, location=...)
            if not created.holds:
                raise SetupFailed
            upload = self.resolve(created.header("Location") or "")
            if body and not self.patch(upload, body, upload_offset=0).expect(204).holds:
                raise SetupFailed
            return upload
        finally:
            self._is_setup = False

    def unknown(self) -> str:
        """The path of an upload that does not exist, shaped like those that do."""
        upload, slash, name = self.create(1).rpartition("/")
        swapped = name.translate(str.maketrans("0123456789abcdefghij", "1032547698badcfehgji"))
        return f"{upload}{slash}{swapped if swapped != name else name[:-1] + ('b' if name[-1] != 'b' else 'd')}"

    def resolve(self, location: str) -> str:
        """The path (and query) that a ``Location`` leads to from the collection."""
        parts = urlsplit(urljoin(self.subject.url, location))
        return parts.path + (f"?{parts.query}" if parts.query else "")

    # -- state --------------------------------------------------------------------------------------------------------

    def holds(self, target: str, content: bytes) -> None:
        """Expect the bytes behind ``target``, where the server serves downloads (tus itself has none)."""
        got = self.get(target)
        got.check("content, or a refusal of downloads", str(got.status), got.status < 500)
        if got.status == 200:
            got.check(f"content {content[:40]!r}", repr(got.body[:40]), got.body == content)

    def eventually(self, ask: Callable[[], Exchange], is_so: Callable[[Exchange], bool], seconds: float) -> Exchange:
        """Ask until ``is_so`` or the time is over; only the last exchange stays in the dialogue."""
        deadline = time.monotonic() + min(seconds, self.subject.patience_seconds)
        for pause in itertools.chain((0.02, 0.05, 0.1), itertools.repeat(0.2)):
            exchange = ask()
            if is_so(exchange) or time.monotonic() > deadline:
                return exchange
            self.dialogue.exchanges.remove(exchange)
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    def offset_becomes(self, target: str, offset: int) -> Exchange:
        """Expect that HEAD returns ``offset`` soon."""
        response = self.eventually(lambda: self.head(target), lambda got: got.number("Upload-Offset") == offset, 5)
        return response.expect((200, 204), upload_offset=offset)

    # -- for Stream ---------------------------------------------------------------------------------------------------

    def record(self, exchange: Exchange) -> Exchange:
        exchange.is_setup = self._is_setup
        self.dialogue.exchanges.append(exchange)
        return exchange

    def head_lines(self, method: str, target: str, extra: Pairs, headers: Mapping[str, Value]) -> list[bytes]:
        named: dict[str, Value] = {"Host": self.subject.address.authority}
        named |= {"Tus-Resumable": "1.0.0", **self.subject.headers}
        named |= {header_name(key): value for key, value in headers.items()}
        pairs = [(name, value) for name, value in named.items() if value is not None] + list(extra)
        return [f"{method} {target} HTTP/1.1".encode("latin-1")] + [
            name.encode("latin-1") + b": " + (value if isinstance(value, bytes) else str(value).encode("latin-1"))
            for name, value in pairs
        ]

    def close(self) -> None:
        for wire in self._wires:
            wire.close()


def _shown(lines: list[bytes]) -> list[str]:
    """The head as a reader wants it: without the two headers that are the same everywhere."""
    dull = ("host: ", "tus-resumable: 1.0.0", "authorization: ")
    first, *rest = [line.decode("latin-1") for line in lines]
    return [first.removesuffix(" HTTP/1.1"), *(line for line in rest if not line.lower().startswith(dull))]
