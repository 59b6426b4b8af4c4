"""R17: digest fields."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.client_headers import digest_header
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.draft.digests import parse_digest
from tusd_py.protocol.errors import InvalidChecksum

SHA256 = Checksum("sha256", hashlib.sha256(b"hello").digest())
SHA512 = Checksum("sha512", hashlib.sha512(b"hello").digest())
MD5 = Checksum("md5", hashlib.md5(b"hello").digest())


def test_strongest_digest_is_used() -> None:
    """The strongest supported digest is used, whatever the order; unsupported ones are ignored."""
    header = ", ".join(map(digest_header, (MD5, SHA256, SHA512))) + ", crc32c=:AAAAAA==:"
    assert SHA512 == parse_digest("Content-Digest", header)
    assert MD5 == parse_digest("Content-Digest", "sha-256=5, " + digest_header(MD5))


@pytest.mark.parametrize("header", [None, "", "sha-256", "sha-256=5", "sha-256=YWI=", "crc32c=:AAAAAA==:", "a,"])
def test_unsupported_digests_are_ignored(header: str | None) -> None:
    """A field with invalid syntax, or with unsupported algorithms only, is ignored."""
    assert parse_digest("Content-Digest", header) is None


def test_wrong_digest_size_400() -> None:
    """A digest of the wrong size is refused before the body is read, because no body could match it."""
    with pytest.raises(InvalidChecksum, match="Repr-Digest: expected 32 bytes after sha-256"):
        parse_digest("Repr-Digest", "sha-256=:YWI=:")
