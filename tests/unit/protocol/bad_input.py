"""Requests that no server should grant, as data: what is sent, and the documented statuses of the answer.

The same table is read by the pure parser (``test_bad_input.py``) and can be sent over a socket to any server, with
``BadInput.raw``. ``{upload}`` in a target or a header stands for the id of an upload of 10 bytes that has none yet; it
must be unchanged afterwards, and nothing may be created. ``is_framing`` marks what an HTTP server refuses before any
application sees it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CaseHeaders = tuple[tuple[str, bytes], ...]

TUS_TYPE = b"application/offset+octet-stream"
#: Python's int(), JavaScript's parseInt or C's strtol accept some of these.
NO_NUMBERS = (
    b"",
    b"-1",
    b"-0",
    b"+0",
    b"+5",
    b"00",
    b"05",
    b"0x5",
    b"0b1",
    b"5.0",
    b"5e0",
    b"1_0",
    b"1,0",
    b"5, 5",
    b"5 5",
    b"5;",
    b"five",
    b"NaN",
    b"Infinity",
    b"null",
    b"\xa05",
    b"\xb2",
    "٥".encode(),
    "５".encode(),
    b"9223372036854775808",
    b"18446744073709551616",
    b"9" * 5000,
)
HOSTILE_IDS = (
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5cboot.ini",
    "%00",
    "{upload}%00",
    "{upload}%0a",
    "{upload}%0d%0aX-Injected:%201",
    "{upload}%20",
    "{upload}.lock",
    "{upload}%2f..%2f{upload}",
    "{upload}/{upload}",
    "a//b",
    "%ff%fe",
    "%c3%a9",
    ".hidden",
    "-rf",
    "_",
    "~",
    "*",
    "$(id)",
    "'%20OR%201=1--",
    "a" * 129,
    "a" * 3000,
)


@dataclass(frozen=True, slots=True)
class BadInput:
    """One request; ``target`` is what follows the base path (``/files/``) on the request line."""

    name: str
    method: str
    target: str
    headers: CaseHeaders
    statuses: tuple[int, ...]
    body: bytes = b""
    is_framing: bool = False

    def raw(self, upload_id: str, base_path: str = "/files/") -> bytes:
        """The bytes to send. The server may close the connection afterwards, but must not read a second request."""
        target = (base_path + self.target).replace("{upload}", upload_id)
        lines = [f"{self.method} {target} HTTP/1.1".encode("latin-1"), b"Host: tus.test"]
        lines += [name.encode("ascii") + b": " + self._value(value, upload_id) for name, value in self.headers]
        return b"\r\n".join([*lines, b"", self.body])

    def fields(self, upload_id: str) -> list[tuple[bytes, bytes]]:
        """The headers as an ASGI server passes them."""
        return [(name.lower().encode("ascii"), self._value(value, upload_id)) for name, value in self.headers]

    def _value(self, value: bytes, upload_id: str) -> bytes:
        return value.replace(b"{upload}", upload_id.encode("ascii"))


def bad_inputs() -> list[BadInput]:
    """The whole table, with unique names."""
    tables = (
        _versions(),
        _methods(),
        _targets(),
        _overrides(),
        _creation_numbers(),
        _metadata(),
        _concat(),
        _appends(),
        _checksums(),
        _bodies(),
        _repeats(),
        _framing(),
    )
    return list(itertools.chain.from_iterable(tables))


def good_inputs() -> list[BadInput]:
    """The requests that the table modifies; all are accepted."""
    return [
        _case("good: a creation", _post(("Upload-Length", b"5"))),
        _case("good: a creation with bytes", _post(("Upload-Length", b"5"), ("Content-Type", TUS_TYPE), body=b"hello")),
        _case("good: an append", _patch()),
        _case("good: an append with a length", _patch(("Upload-Length", b"10"))),
        _case("good: an append with a checksum", _patch(("Upload-Checksum", b"sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="))),
    ]


def _post(*headers: tuple[str, bytes], body: bytes = b"") -> tuple[str, str, CaseHeaders, bytes]:
    return "POST", "", (("Tus-Resumable", b"1.0.0"), *headers, *_length(headers, body)), body


def _patch(*headers: tuple[str, bytes], body: bytes = b"hello") -> tuple[str, str, CaseHeaders, bytes]:
    named = {name for name, _ in headers}
    usual = (("Content-Type", TUS_TYPE), ("Upload-Offset", b"0"))
    given = (*(field for field in usual if field[0] not in named), *headers)
    return "PATCH", "{upload}", (("Tus-Resumable", b"1.0.0"), *given, *_length(headers, body)), body


def _length(headers: Iterable[tuple[str, bytes]], body: bytes) -> CaseHeaders:
    framed = any(name in ("Content-Length", "Transfer-Encoding") for name, _ in headers)
    return () if framed else (("Content-Length", b"%d" % len(body)),)


def _case(
    name: str, request: tuple[str, str, CaseHeaders, bytes], *statuses: int, is_framing: bool = False
) -> BadInput:
    method, target, headers, body = request
    return BadInput(name, method, target, headers, statuses, body, is_framing)


def _label(value: bytes) -> str:
    return repr(value if len(value) <= 40 else value[:37] + b"...")[1:]


def _versions() -> Iterator[BadInput]:
    for method, target in (("POST", ""), ("PATCH", "{upload}"), ("DELETE", "{upload}")):
        yield BadInput(f"version: {method} without any", method, target, (("Content-Length", b"0"),), (412,))
    for version in (b"", b"0.2.2", b"1", b"1.0", b"1.0.1", b"2.0.0", b"v1.0.0", b"1.0.0, 0.2.2", b"1.0.0\x80", b"\xff"):
        for method, target in (("POST", ""), ("PATCH", "{upload}"), ("HEAD", "{upload}"), ("DELETE", "{upload}")):
            headers = (("Tus-Resumable", version), ("Upload-Length", b"5"), ("Content-Length", b"0"))
            yield BadInput(f"version: {method} {_label(version)}", method, target, headers, (412,))


def _methods() -> Iterator[BadInput]:
    tus = (("Tus-Resumable", b"1.0.0"), ("Upload-Length", b"5"), ("Content-Length", b"0"))
    for method in ("PUT", "PATCH", "DELETE", "HEAD", "GET", "PROPFIND"):
        yield BadInput(f"method: {method} on the collection", method, "", tus, (405,))
    for method in ("PUT", "POST", "PROPFIND"):
        yield BadInput(f"method: {method} on an upload", method, "{upload}", tus, (405,))
    # Some HTTP servers refuse what is no method of theirs before an application sees it.
    for method in ("BREW", "patch", "post"):
        yield BadInput(f"method: {method} on an upload", method, "{upload}", tus, (400, 405, 501))
        yield BadInput(f"method: {method} on the collection", method, "", tus, (400, 405, 501))


def _targets() -> Iterator[BadInput]:
    for name in HOSTILE_IDS:
        short = name if len(name) < 40 else f"{name[:10]}... of {len(name)}"
        for method in ("HEAD", "PATCH", "DELETE", "POST"):
            method, _, headers, body = _patch() if method == "PATCH" else (method, "", _post()[2], b"")
            yield BadInput(f"id: {method} {short}", method, name, headers, (404, 414), body)


def _overrides() -> Iterator[BadInput]:
    length = ("Upload-Length", b"5")
    for value in (
        b"",
        b"GET",
        b"PUT",
        b"TRACE",
        b"CONNECT",
        b"BREW",
        b"PATCH, DELETE",
        b"PATCH DELETE",
        b"\xff",
        b"PATCH\x80",
    ):
        yield _case(f"override: {_label(value)}", _post(("X-HTTP-Method-Override", value), length), 405)
    twice = (("X-HTTP-Method-Override", b"PATCH"), ("X-HTTP-Method-Override", b"DELETE"))
    yield _case("override: two", _post(*twice, length), 400)
    yield _case("override: the same twice", _post(twice[0], twice[0], length), 400)


def _creation_numbers() -> Iterator[BadInput]:
    for value in NO_NUMBERS:
        yield _case(f"creation: Upload-Length {_label(value)}", _post(("Upload-Length", value)), 400)
    for value in (b"", b"0", b"2", b"01", b"1.0", b"true", b"yes", b"-1", b"1 1", b"\xb9"):
        yield _case(f"creation: Upload-Defer-Length {_label(value)}", _post(("Upload-Defer-Length", value)), 400)
    yield _case("creation: no length", _post(), 400)
    yield _case("creation: no length of a partial upload", _post(("Upload-Concat", b"partial")), 400)
    yield _case("creation: both lengths", _post(("Upload-Length", b"5"), ("Upload-Defer-Length", b"1")), 400)
    yield _case(
        "creation: a length and a deferred 0", _post(("Upload-Length", b"5"), ("Upload-Defer-Length", b"0")), 400
    )


def _metadata() -> Iterator[BadInput]:
    values = (
        b",",
        b"a YQ==,",
        b",a YQ==",
        b"a YQ==,,b YQ==",
        b"a YQ==,a YQ==",
        b"a YQ==,a",
        b"a  YQ==",
        b"a YQ== YQ==",
        b"a\tYQ==",
        b"a YQ",
        b"a YQ=",
        b"a YQ===",
        b"a =",
        b"a ====",
        b"a Y",
        b"a Y!Q=",
        b"a Y\tQ==",
        b"a _w==",
        b"a -w==",
        b"a YQ==YQ==",
        b"a YQ%3D%3D",
        b"a \xff",
        b"\xe9 YQ==",
        "ключ YQ==".encode(),
        b"a\x80 YQ==",
        b"a\xa0b YQ==",
        b"a YQ==;b YQ==",
    )
    for value in values:
        request = _post(("Upload-Length", b"5"), ("Upload-Metadata", value))
        yield _case(f"metadata: {_label(value)}", request, 400)
    for value in (b"a " + b"A" * 9000, b"a" * 9000, b",".join(b"k%d YQ==" % i for i in range(2000))):
        request = _post(("Upload-Length", b"5"), ("Upload-Metadata", value))
        yield _case(f"metadata: {len(value)} bytes like {_label(value[:8])}", request, 431)


def _concat() -> Iterator[BadInput]:
    values = (
        b"",
        b"Partial",
        b"PARTIAL",
        b"partial;",
        b"partial;/files/{upload}",
        b"regular",
        b"final",
        b"final;",
        b"final; ",
        b"Final;/files/{upload}",
        b"final /files/{upload}",
        b"final,/files/{upload}",
        b"final;  /files/{upload}",
        b"final;/files/{upload}  /files/{upload}",
        b"final;/files/{upload},/files/{upload}",
        b"final;/files/{upload}\t/files/{upload}",
        b"final;/files/",
        b"final;/files",
        b"final;/",
        b"final;/{upload}",
        b"final;/other/{upload}",
        b"final;/files/deeper/{upload}",
        b"final;/files/../{upload}",
        b"final;/files/../../etc/passwd",
        b"final;/files/..%2f{upload}",
        b"final;/files/%2e%2e",
        b"final;/files/{upload}%00",
        b"final;/files/\xff",
        b"final;ftp://tus.test/files/{upload}",
        b"final;file:///files/{upload}",
        b"final;javascript:alert(1)",
        b"final;http://[/files/{upload}",
        b"final;http://tus.test",
        # It is there, but no partial upload:
        b"final;/files/{upload}",
        b"final;http://tus.test/files/{upload}",
        b"final;/files/unknown",
        b"final;/files/unknown /files/{upload}",
    )
    for value in values:
        yield _case(f"concat: {_label(value)}", _post(("Upload-Concat", value)), 400)
    # With a length, so that nothing else is wrong with what could pass for an upload of no kind.
    for value in (b"", b"Partial", b"regular", b"partial, final", b"partial;"):
        request = _post(("Upload-Concat", value), ("Upload-Length", b"5"))
        yield _case(f"concat: {_label(value)} with a length", request, 400)
    many = b"final;" + b" ".join([b"/files/{upload}"] * 1001)
    yield _case("concat: 1001 parts", _post(("Upload-Concat", many)), 413, 431)
    yield _case("concat: 200 KiB", _post(("Upload-Concat", b"final;/files/" + b"a" * 204800)), 400, 431)
    final = ("Upload-Concat", b"final;/files/{upload}")
    yield _case("concat: a body for a final upload", _post(final, ("Content-Type", TUS_TYPE), body=b"hello"), 403)
    yield _case("concat: an untyped body for a final upload", _post(final, body=b"hello"), 403)
    chunked = _post(final, ("Transfer-Encoding", b"chunked"), body=b"5\r\nhello\r\n0\r\n\r\n")
    yield _case("concat: a chunked body for a final upload", chunked, 403)


def _appends() -> Iterator[BadInput]:
    for value in NO_NUMBERS:
        yield _case(f"append: Upload-Offset {_label(value)}", _patch(("Upload-Offset", value)), 400)
        yield _case(f"append: Upload-Length {_label(value)}", _patch(("Upload-Length", value)), 400)
    without = tuple(field for field in _patch()[2] if field[0] != "Upload-Offset")
    yield BadInput("append: no offset", "PATCH", "{upload}", without, (400,), b"hello")
    for value in (b"1", b"5", b"10", b"11", b"9223372036854775807"):
        yield _case(f"append: at {_label(value)} instead of 0", _patch(("Upload-Offset", value)), 409)
    for value in (b"0", b"5", b"9", b"11", b"9223372036854775807"):
        yield _case(f"append: length {_label(value)} instead of 10", _patch(("Upload-Length", value)), 400)
    types = (
        b"",
        b"*/*",
        b"text/plain",
        b"application/octet-stream",
        b"application/offset",
        b"application/offset octet-stream",
        b"application/offset+octet-streams",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"text/plain, application/offset+octet-stream",
        b"\xff",
    )
    for value in types:
        yield _case(f"append: Content-Type {_label(value)}", _patch(("Content-Type", value)), 415)
    for value in (b"gzip", b"GZIP", b"br", b"deflate, gzip", b"identity, gzip", b"zstd", b"x"):
        yield _case(f"append: Content-Encoding {_label(value)}", _patch(("Content-Encoding", value)), 415)
    for value in (b"bytes 0-4/10", b"bytes */10", b""):
        yield _case(f"append: Content-Range {_label(value)}", _patch(("Content-Range", value)), 400)


def _checksums() -> Iterator[BadInput]:
    good = b"qvTGHdzF6KLavt4PO0gs2a6pQ00="
    values = (
        b"",
        b"sha1",
        b"sha1 ",
        b"sha1 !!!",
        b"sha1 " + good[:-1],
        b"sha1 " + good + b"=",
        b"sha1 " + good + b" x",
        b"sha1 " + good + b",",
        b"sha1  " + good,
        b"sha1\t" + good,
        b"sha1=" + good,
        b"sha1 YQ==",
        b"sha1 " + b"A" * 4000,
        b"sha1 aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        b"SHA1 " + good,
        b"Sha1 " + good,
        b"sha-1 " + good,
        b"sha256 " + good,
        b"md5 " + good,
        b"crc32 NhCmhgA=",
        b"crc32 3610a686",
        b"sha3-256 YQ==",
        b"none YQ==",
        b" " + good,
        b"\xff YQ==",
        b"sha1 \xff",
    )
    for value in values:
        yield _case(f"checksum: {_label(value)}", _patch(("Upload-Checksum", value)), 400)
    for value in (b"sha1", b"SHA1 " + good, b"sha9 YQ=="):
        creation = (("Upload-Length", b"5"), ("Content-Type", TUS_TYPE), ("Upload-Checksum", value))
        yield _case(f"checksum: {_label(value)} at creation", _post(*creation, body=b"hello"), 400)


def _bodies() -> Iterator[BadInput]:
    yield _case("body: 11 bytes for 10", _patch(body=b"x" * 11), 413)
    large = _patch(("Content-Length", b"9223372036854775807"), body=b"")
    yield _case("body: 8 EiB announced for 10", large, 413)
    typed = ("Content-Type", TUS_TYPE)
    yield _case("body: 6 bytes for 5 at creation", _post(("Upload-Length", b"5"), typed, body=b"x" * 6), 413)
    yield _case("body: 1 byte for 0 at creation", _post(("Upload-Length", b"0"), typed, body=b"x"), 413)
    encoded = (("Upload-Length", b"5"), typed, ("Content-Encoding", b"gzip"))
    yield _case("body: encoded at creation", _post(*encoded, body=b"hello"), 415)
    ranged = (("Upload-Length", b"5"), typed, ("Content-Range", b"bytes 0-4/5"))
    yield _case("body: a range at creation", _post(*ranged, body=b"hello"), 400)


def _repeats() -> Iterator[BadInput]:
    appending = {
        "Tus-Resumable": (b"1.0.0", b"0.2.2"),
        "Upload-Offset": (b"0", b"5"),
        "Upload-Length": (b"10", b"11"),
        "Content-Type": (TUS_TYPE, b"text/plain"),
        "Upload-Checksum": (b"crc32 NhCmhg==", b"md5 XUFAKrxLKna5cZ2REBfFkg=="),
    }
    for name, (one, other) in appending.items():
        rest = tuple(field for field in _patch()[2] if field[0] != name)
        for second, label in ((one, "the same"), (other, "another")):
            headers = (*rest, (name, one), (name, second))
            yield BadInput(f"repeat: {name} and {label} at append", "PATCH", "{upload}", headers, (400,), b"hello")
    length = ("Upload-Length", b"5")
    yield _case("repeat: Upload-Length at creation", _post(length, length), 400)
    deferred = ("Upload-Defer-Length", b"1")
    yield _case("repeat: Upload-Defer-Length at creation", _post(deferred, deferred), 400)
    metadata = (("Upload-Metadata", b"a YQ=="), ("Upload-Metadata", b"b YQ=="))
    yield _case("repeat: Upload-Metadata at creation", _post(length, *metadata), 400)
    partial = ("Upload-Concat", b"partial")
    yield _case("repeat: Upload-Concat at creation", _post(length, partial, partial), 400)


def _framing() -> Iterator[BadInput]:
    for value in (b"gzip, chunked", b"gzip", b"chunked, gzip", b"identity", b"x"):
        request = _patch(("Transfer-Encoding", value), body=b"5\r\nhello\r\n0\r\n\r\n")
        yield _case(f"framing: Transfer-Encoding {_label(value)}", request, 400, 501)
    both = _patch(("Transfer-Encoding", b"chunked"), ("Content-Length", b"5"), body=b"5\r\nhello\r\n0\r\n\r\n")
    yield _case("framing: length and chunks", both, 400)
    for value in (b"", b"-5", b"+5", b"0x5", b"5_0", b"5, 5", b"five", b"99999999999999999999"):
        yield _case(f"framing: Content-Length {_label(value)}", _patch(("Content-Length", value)), 400)
    twice = _patch(("Content-Length", b"5"), ("Content-Length", b"6"), body=b"hello!")
    yield _case("framing: two lengths", twice, 400)
    chunks = (
        b"x\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    )
    for chunk in chunks:
        request = _patch(("Transfer-Encoding", b"chunked"), body=chunk)
        yield _case(f"framing: chunks {_label(chunk)}", request, 400, is_framing=True)
    for name, value in (("X", b"a\x00b"), ("Upload-Metadata", b"a YQ==\x00"), ("X", b"a\nb: c"), ("X y", b"z")):
        request = _patch((name, value))
        yield _case(f"framing: {name} {_label(value)}", request, 400, is_framing=True)
