"""``ChecksumVerifier``: hashes a body while it arrives, in bounded memory, with the checksum in head or trailer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.client_headers import checksum_header
from tests.support.content import content
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, new_digest
from tusd_py.protocol.errors import ChecksumMismatch, InvalidChecksum, UnsupportedAlgorithm
from tusd_py.protocol.requests import BodyInfo
from tusd_py.threads import cpu_threads
from tusd_py.uploads.body.checksum import BATCH_BYTES_MAX, ChecksumVerifier

SMALL, LARGE = (b"he", b"llo"), (b"x" * 300_000, b"y")


def trailer(algorithm: str, pieces: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    digest = new_digest(algorithm)
    digest.update(b"".join(pieces))
    return [(b"other", b"sha1 x"), (b"upload-checksum", checksum_header(Checksum(algorithm, digest.digest())).encode())]


@pytest.mark.parametrize("pieces", [SMALL, LARGE], ids=["inline", "in a thread"])
@pytest.mark.anyio
async def test_trailer_may_use_every_algorithm(pieces: tuple[bytes, ...]) -> None:
    """The trailer names the algorithm after the body; a wrong digest is refused with each."""
    verifier = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    for piece in pieces:
        await verifier.update([piece])
    for algorithm in ALGORITHMS:
        await verifier.verify(trailer(algorithm, pieces))
        with pytest.raises(ChecksumMismatch):
            await verifier.verify(trailer(algorithm, (b"other",)))


@pytest.mark.anyio
async def test_checksum_in_the_head_ignores_trailers() -> None:
    """A checksum in the head needs no trailer and is not changed by one."""
    body = BodyInfo(length=5, checksum=Checksum("sha1", hashlib.sha1(b"hello").digest()))
    assert body.is_verified
    verifier = ChecksumVerifier(body)
    await verifier.update(SMALL)
    await verifier.verify([])
    await verifier.verify(trailer("md5", (b"other",)))


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
@pytest.mark.anyio
async def test_unusable_trailer_is_refused(trailers: list[tuple[bytes, bytes]]) -> None:
    """A missing, malformed or repeated trailer cannot be verified."""
    verifier = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    await verifier.update(SMALL)
    with pytest.raises((InvalidChecksum, UnsupportedAlgorithm)):
        await verifier.verify(trailers)


@pytest.mark.anyio
async def test_unknown_algorithm_in_the_trailer() -> None:
    """It is refused as in the header."""
    verifier = ChecksumVerifier(BodyInfo(length=None, checksum_in_trailer=True))
    with pytest.raises(UnsupportedAlgorithm):
        await verifier.verify([(b"upload-checksum", b"sha3 " + base64.b64encode(b"x" * 20))])


@contextmanager
def threads_occupied() -> Iterator[None]:
    """Occupy every thread that hashes."""
    go_on = threading.Event()
    for _ in range(os.cpu_count() or 1):
        cpu_threads.submit(go_on.wait)
    try:
        yield
    finally:
        go_on.set()


def sha1_verifier(data: bytes) -> ChecksumVerifier:
    return ChecksumVerifier(BodyInfo(length=len(data), checksum=Checksum("sha1", hashlib.sha1(data).digest())))


@pytest.mark.parametrize("piece_bytes", [1, 1000, 32 * 1024, 70_000, 256 * 1024, 3 * 1024 * 1024])
@pytest.mark.anyio
async def test_pieces_of_any_size(piece_bytes: int) -> None:
    """Pieces are hashed once and in order, however they are batched."""
    data = bytes(content(5, min(3000 * piece_bytes, 6_000_000)))
    verifier = sha1_verifier(data)
    for start in range(0, len(data), piece_bytes):
        await verifier.update([data[start : start + piece_bytes]])
    await verifier.verify([])


@pytest.mark.anyio
async def test_update_waits_only_for_a_third_batch() -> None:
    """While one batch is hashed in a thread another is gathered; only a third one waits."""
    data = bytes(content(6, 3 * BATCH_BYTES_MAX))
    verifier = sha1_verifier(data)
    step = BATCH_BYTES_MAX // 4
    with threads_occupied():
        for start in range(0, len(data), step):
            update = asyncio.create_task(verifier.update([data[start : start + step]]))
            for _ in range(5):
                await asyncio.sleep(0)
            if not update.done():
                break
        assert BATCH_BYTES_MAX <= start < 2 * BATCH_BYTES_MAX
    await update
    await verifier.update([data[start + step :]])
    await verifier.verify([])


@pytest.mark.anyio
async def test_cancelled_verify() -> None:
    """A cancelled ``verify`` ends at once, without the thread."""
    verifier = sha1_verifier(b"other")
    with threads_occupied():
        await verifier.update([bytes(BATCH_BYTES_MAX)])
        waiting = asyncio.create_task(verifier.verify([]))
        await asyncio.sleep(0)
        waiting.cancel()
        outcome = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(outcome[0], asyncio.CancelledError)
