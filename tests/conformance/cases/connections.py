"""Connections before tus: ambiguous, large or incomplete heads, upgrades, and early closing (rows
U3 to U5 and U8)."""

from __future__ import annotations

from typing import Any

from tests.conformance.case import POLICY, SHOULD, Limit, case
from tests.conformance.client import TUS_TYPE, Tus
from tests.conformance.expectations import FOUND

_KEEP = "The Server SHOULD always attempt to store as much of the received data as possible."


@case("U3", SHOULD, "core", _KEEP)
def kept_when_closed_at_once(tus: Tus) -> None:
    """A client that sends a head and 300 bytes and closes at once leaves 300 bytes, ten times out of ten."""
    for _ in range(10):
        upload = tus.create(1000)
        stream = tus.connect().begin("PATCH", upload, content_type=TUS_TYPE, content_length=1000, upload_offset=0)
        stream.send(b"x" * 300).cut()
        if not tus.offset_becomes(upload, 300).holds:
            return


@case("U4", POLICY, "core", "Connections that say nothing cost a hostile client nothing.", needs=Limit.IDLE)
def half_a_head(tus: Tus) -> None:
    """A connection with an incomplete head, or without any bytes, is closed after a timeout."""
    for begun in (b"HEAD /half HTTP/1.1\r\nHost: x\r\n", b""):
        stream = tus.connect().send(begun)
        ended = stream.answer()
        ended.check("4xx or closed", ended.status or ended.answer, ended.status in (0, 400, 408))
        ended.check("then closed", "still open", stream.wire.is_closed_within(tus.subject.patience_seconds))


@case("U5", POLICY, "core", "Without a limit on headers a client could exhaust the memory of the server.")
def large_heads(tus: Tus) -> None:
    """A header of 70 KB, and two thousand small headers, are refused with 431 or 400, and the connection is closed."""
    for extra in ([("X-Large", "a" * 70_000)], [(f"X-{number}", "a") for number in range(2000)]):
        stream = tus.connect().begin("OPTIONS", tus.collection, extra=extra)
        refused = stream.answer().expect((400, 431))
        refused.check("closed", "still open", stream.wire.is_closed_within(tus.subject.patience_seconds))


@case("U8", POLICY, "core", "RFC 9112, 3.2: a server MUST respond with 400 to a request without Host or with several.")
def hosts(tus: Tus) -> None:
    """A missing, repeated or invalid `Host` is answered 400, and nothing is done."""
    upload = tus.create(10)
    wrong: tuple[tuple[str | None, list[tuple[str, str]]], ...] = (
        (None, []),
        ("a", [("Host", "b")]),
        ("a b", []),
        ("a/b", []),
    )
    for host, extra in wrong:
        tus.connect().begin(
            "PATCH", upload, extra=extra, host=host, content_type=TUS_TYPE, content_length=5, upload_offset=0
        ).send(b"hello", until_answered=True).answer().expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("U10", POLICY, "core", "Java and curl offer HTTP/2 on the first request of a connection; most servers decline.")
def an_offer_of_h2c(tus: Tus) -> None:
    """A PATCH that offers an upgrade to h2c is handled over HTTP/1.1 with its body, and the connection stays usable."""
    upload = tus.create(10)
    line = tus.connect()
    offer: dict[str, Any] = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2_settings": "AAMAAABkAAQAoAAAAAIAAAAA",
    }
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=0, **offer).send(b"hello")
    line.answer().expect(204, upload_offset=5)
    line.begin("PATCH", upload, content_type=TUS_TYPE, content_length=5, upload_offset=5).send(b"world")
    line.answer().expect(204, upload_offset=10)
    tus.holds(upload, b"helloworld")
