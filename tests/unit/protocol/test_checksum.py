"""The ``Upload-Checksum`` header and the digests."""

from __future__ import annotations

import pytest

from tests.support.client_headers import checksum_header
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, new_digest, parse_checksum
from tusd_py.protocol.errors import InvalidChecksum, UnsupportedAlgorithm

#: Of the bytes "hello", by other programs (sha1sum and its like, zlib's crc32).
HELLO = {
    "sha1": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
    "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "sha512": "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"
    "2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
    "md5": "5d41402abc4b2a76b9719d911017c592",
    "crc32": "3610a686",
}


def test_supported_algorithms() -> None:
    """sha1 is required of every server; the others are those that clients use."""
    assert set(ALGORITHMS) == set(HELLO)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest_of_pieces_is_that_of_the_whole(algorithm: str) -> None:
    """A digest of pieces equals that of the whole, and its formatted header parses to the same value."""
    digest = new_digest(algorithm)
    digest.update(b"he")
    digest.update(b"")
    digest.update(b"llo")
    assert digest.digest().hex() == HELLO[algorithm]
    checksum = Checksum(algorithm, bytes.fromhex(HELLO[algorithm]))
    assert parse_checksum(checksum_header(checksum)) == checksum


@pytest.mark.parametrize("header", ["", "sha1", " ", "SHA1 YQ==", "é YQ==", "sha1 YQ==", "sha1 !", "crc32  NhCmhg=="])
def test_malformed_header_400(header: str) -> None:
    """Names must be in lower case, one space must follow, and the digest must have the size of the algorithm."""
    with pytest.raises(InvalidChecksum):
        parse_checksum(header)


def test_unknown_algorithm_400() -> None:
    """The error for an unsupported algorithm lists the supported ones."""
    with pytest.raises(UnsupportedAlgorithm, match="use one of sha1, md5"):
        parse_checksum("sha256 YQ==", ("sha1", "md5"))
