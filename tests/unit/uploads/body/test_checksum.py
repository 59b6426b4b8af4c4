"""Digests over a body as it comes, beside it and in bounded memory, with the checksum before it or behind it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.content import content
from tests.support.loops import on_loop
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, format_checksum, new_digest
from tusd_py.protocol.errors import ChecksumMismatch, InvalidChecksum, UnsupportedAlgorithm
from tusd_py.protocol.requests import BodyInfo
from tusd_py.threads import cpu_threads
from tusd_py.uploads.body.checksum import BATCH_BYTES_MAX, ChecksumVerifier

SMALL, LARGE = (b"he", b"llo"), (b"x" * 300_000, b"y")


def trailer(algorithm: str, pieces: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    digest = new_digest(algorithm)
    digest.update(b"".join(pieces))
    return [(b"other", b"sha1 x"), (b"upload-checksum", format_checksum(Checksum(algorithm, digest.digest())).encode())]


@pytest.mark.parametrize("pieces", [SMALL, LARGE], ids=["inline", "in a thread"])
@on_loop
async def test_every_algorithm_can_come_behind_the_body(pieces: tuple[bytes, ...]) -> None:
    """Which one is known only then; a wrong digest is refused with each."""
    digesting = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    for piece in pieces:
        await digesting.update([piece])
    for algorithm in ALGORITHMS:
        await digesting.verify(trailer(algorithm, pieces))
        with pytest.raises(ChecksumMismatch):
            await digesting.verify(trailer(algorithm, (b"other",)))


@on_loop
async def test_a_checksum_of_the_head_needs_no_trailer() -> None:
    """And is not changed by one."""
    body = BodyInfo(length=5, checksum=Checksum("sha1", hashlib.sha1(b"hello").digest()))
    assert body.is_verified
    digesting = ChecksumVerifier(body)
    await digesting.update(SMALL)
    await digesting.verify([])
    await digesting.verify(trailer("md5", (b"other",)))


@pytest.mark.parametrize(
    "trailers",
    [
        [],
        [(b"other", b"x")],
        [(b"upload-checksum", b"sha1")],
        [(b"upload-checksum", b"sha1 !!!")],
        [(b"upload-checksum", b"\xff \xff")],
        trailer("sha1", SMALL) * 2,
    ],
)
@on_loop
async def test_a_trailer_that_says_nothing_is_refused(trailers: list[tuple[bytes, bytes]]) -> None:
    """Missing, malformed or twice: nothing can be verified."""
    digesting = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    await digesting.update(SMALL)
    with pytest.raises((InvalidChecksum, UnsupportedAlgorithm)):
        await digesting.verify(trailers)


@on_loop
async def test_an_unknown_algorithm_is_told() -> None:
    """As in the header."""
    digesting = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    with pytest.raises(UnsupportedAlgorithm):
        await digesting.verify([(b"upload-checksum", b"sha3 " + base64.b64encode(b"x" * 20))])


@contextmanager
def threads_held_up() -> Iterator[None]:
    """No thread that hashes gets to its next batch meanwhile."""
    go_on = threading.Event()
    for _ in range(os.cpu_count() or 1):
        cpu_threads.submit(go_on.wait)
    try:
        yield
    finally:
        go_on.set()


def digesting_sha1(data: bytes) -> ChecksumVerifier:
    return ChecksumVerifier(BodyInfo(length=len(data), checksum=Checksum("sha1", hashlib.sha1(data).digest())))


@pytest.mark.parametrize("piece_bytes", [1, 1000, 32 * 1024, 70_000, 256 * 1024, 3 * 1024 * 1024])
@on_loop
async def test_pieces_of_any_size(piece_bytes: int) -> None:
    """They are hashed in order, once, however they are gathered."""
    data = bytes(content(5, min(3000 * piece_bytes, 6_000_000)))
    digesting = digesting_sha1(data)
    for start in range(0, len(data), piece_bytes):
        await digesting.update([data[start : start + piece_bytes]])
    await digesting.verify([])


@on_loop
async def test_the_body_goes_on_while_it_is_hashed() -> None:
    """One batch is in the thread, one is gathered; only who brings a third waits for the first."""
    data = bytes(content(6, 3 * BATCH_BYTES_MAX))
    digesting = digesting_sha1(data)
    step = BATCH_BYTES_MAX // 4
    with threads_held_up():
        for start in range(0, len(data), step):
            update = asyncio.create_task(digesting.update([data[start : start + step]]))
            for _ in range(5):
                await asyncio.sleep(0)
            if not update.done():
                break
        assert BATCH_BYTES_MAX <= start < 2 * BATCH_BYTES_MAX
    await update
    await digesting.update([data[start + step :]])
    await digesting.verify([])


@on_loop
async def test_a_body_given_up_while_it_is_hashed() -> None:
    """A cancelled wait leaves nothing running that anybody would have to wait for."""
    digesting = digesting_sha1(b"other")
    with threads_held_up():
        await digesting.update([bytes(BATCH_BYTES_MAX)])
        waiting = asyncio.create_task(digesting.verify([]))
        await asyncio.sleep(0)
        waiting.cancel()
        outcome = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(outcome[0], asyncio.CancelledError)
