"""The Upload-Checksum header and the digests."""

from __future__ import annotations

import pytest

from tusd_py.protocol.checksum import ALGORITHMS, Checksum, format_checksum, new_digest, parse_checksum
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


def test_what_is_offered() -> None:
    """sha1, which every server must know, and the others that clients use."""
    assert set(ALGORITHMS) == set(HELLO)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digests(algorithm: str) -> None:
    """The digest of bytes given in pieces is that of the whole, and a header that says so is read back."""
    digest = new_digest(algorithm)
    digest.update(b"he")
    digest.update(b"")
    digest.update(b"llo")
    assert digest.digest().hex() == HELLO[algorithm]
    checksum = Checksum(algorithm, bytes.fromhex(HELLO[algorithm]))
    assert parse_checksum(format_checksum(checksum)) == checksum


@pytest.mark.parametrize("header", ["", "sha1", " ", "SHA1 YQ==", "é YQ==", "sha1 YQ==", "sha1 !", "crc32  NhCmhg=="])
def test_malformed(header: str) -> None:
    """Names are in lower case, one space follows, and the digest has the algorithm's length."""
    with pytest.raises(InvalidChecksum):
        parse_checksum(header)


def test_unknown() -> None:
    """An algorithm that is not offered is refused with those that are."""
    with pytest.raises(UnsupportedAlgorithm, match="use one of sha1, md5"):
        parse_checksum("sha256 YQ==", ("sha1", "md5"))
