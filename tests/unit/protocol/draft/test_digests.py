"""R17: digest fields."""

from __future__ import annotations

import hashlib

import pytest

from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.draft.digests import format_digest, parse_digest
from tusd_py.protocol.errors import InvalidChecksum

SHA256 = Checksum("sha256", hashlib.sha256(b"hello").digest())
SHA512 = Checksum("sha512", hashlib.sha512(b"hello").digest())
MD5 = Checksum("md5", hashlib.md5(b"hello").digest())


def test_the_strongest_counts() -> None:
    """Of several digests the strongest that is known is taken, whatever their order; others are ignored."""
    header = ", ".join(map(format_digest, (MD5, SHA256, SHA512))) + ", crc32c=:AAAAAA==:"
    assert SHA512 == parse_digest("Content-Digest", header)
    assert MD5 == parse_digest("Content-Digest", "sha-256=5, " + format_digest(MD5))


@pytest.mark.parametrize("header", [None, "", "sha-256", "sha-256=5", "sha-256=YWI=", "crc32c=:AAAAAA==:", "a,"])
def test_nothing_that_can_be_checked(header: str | None) -> None:
    """A field that breaks its grammar, or knows only algorithms that are unknown here, says nothing."""
    assert parse_digest("Content-Digest", header) is None


def test_a_digest_that_no_bytes_have() -> None:
    """A digest of the wrong length is refused before anything is read: nothing could ever match it."""
    with pytest.raises(InvalidChecksum, match="Repr-Digest: expected 32 bytes after sha-256"):
        parse_digest("Repr-Digest", "sha-256=:YWI=:")
