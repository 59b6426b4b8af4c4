"""Digests over a body as it comes, with the checksum before it or behind it."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.support.loops import on_loop
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, format_checksum, new_digest
from tusd_py.protocol.errors import ChecksumMismatch, InvalidChecksum, UnsupportedAlgorithm
from tusd_py.protocol.requests import BodyHead
from tusd_py.uploads.digesting import Digesting

SMALL, LARGE = (b"he", b"llo"), (b"x" * 300_000, b"y")


def trailer(algorithm: str, pieces: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    digest = new_digest(algorithm)
    digest.update(b"".join(pieces))
    return [(b"other", b"sha1 x"), (b"upload-checksum", format_checksum(Checksum(algorithm, digest.digest())).encode())]


@pytest.mark.parametrize("pieces", [SMALL, LARGE], ids=["inline", "in a thread"])
@on_loop
async def test_every_algorithm_can_come_behind_the_body(pieces: tuple[bytes, ...]) -> None:
    """Which one is known only then; a wrong digest is refused with each."""
    digesting = Digesting(BodyHead(length=None, checksum_in_trailer=True))
    for piece in pieces:
        await digesting.update([piece])
    for algorithm in ALGORITHMS:
        digesting.verify(trailer(algorithm, pieces))
        with pytest.raises(ChecksumMismatch):
            digesting.verify(trailer(algorithm, (b"other",)))


@on_loop
async def test_a_checksum_of_the_head_needs_no_trailer() -> None:
    """And is not changed by one."""
    body = BodyHead(length=5, checksum=Checksum("sha1", hashlib.sha1(b"hello").digest()))
    assert body.is_verified
    digesting = Digesting(body)
    await digesting.update(SMALL)
    digesting.verify([])
    digesting.verify(trailer("md5", (b"other",)))


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
    digesting = Digesting(BodyHead(length=None, checksum_in_trailer=True))
    await digesting.update(SMALL)
    with pytest.raises((InvalidChecksum, UnsupportedAlgorithm)):
        digesting.verify(trailers)


@on_loop
async def test_an_unknown_algorithm_is_told() -> None:
    """As in the header."""
    digesting = Digesting(BodyHead(length=None, checksum_in_trailer=True))
    with pytest.raises(UnsupportedAlgorithm):
        digesting.verify([(b"upload-checksum", b"sha3 " + base64.b64encode(b"x" * 20))])
