"""The digests that clients say their uploads have: every form in use is read, and none believed unseen."""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode

import pytest

from tusd_py.validation.digests import DigestCheck, ExpectedDigest, expected_digests

CONTENT = b"the bytes of an upload"
SHA256 = hashlib.sha256(CONTENT)
SHA512 = hashlib.sha512(CONTENT)


def problems(metadata: dict[str, bytes], *keys: str) -> list[str]:
    digests = DigestCheck(expected_digests(metadata, keys))
    digests.update(CONTENT[:5])
    digests.update(CONTENT[5:])
    return list(digests.violations())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", SHA256.hexdigest()),
        ("sha256", SHA256.hexdigest().upper()),
        ("sha256", b64encode(SHA256.digest()).decode()),
        ("sha256", b64encode(SHA256.digest()).decode().rstrip("=")),
        ("sha256", urlsafe_b64encode(SHA256.digest()).decode()),
        ("checksum", f"sha256:{SHA256.hexdigest()}"),
        ("checksum", f"SHA-256={b64encode(SHA256.digest()).decode()}"),
        ("checksum", f"sha256 {b64encode(SHA256.digest()).decode()}"),
        ("checksum", f"sha256-{b64encode(SHA256.digest()).decode()}"),
        ("checksum", SHA512.hexdigest()),
        ("checksum", hashlib.md5(CONTENT).hexdigest()),
        ("md5", b64encode(hashlib.md5(CONTENT).digest()).decode()),
        ("sha1", hashlib.sha1(CONTENT).hexdigest()),
        ("repr-digest", f"sha-256=:{b64encode(SHA256.digest()).decode()}:"),
        ("repr-digest", f"sha-512=:{b64encode(SHA512.digest()).decode()}:, sha-256=:{b64encode(bytes(32)).decode()}:"),
    ],
)
def test_a_digest_that_is_right_has_nothing_against_it(key: str, value: str) -> None:
    """Hexadecimal or base64, named or not: a right digest is found to be one, and a wrong byte is found out."""
    assert [] == problems({key: value.encode()}, "sha256", "checksum", "md5", "sha1")
    wrong = DigestCheck(expected_digests({key: value.encode()}, ("sha256", "checksum", "md5", "sha1")))
    wrong.update(CONTENT + b"!")
    (problem,) = wrong.violations()
    assert f"that the metadata {key} says" in problem


@pytest.mark.parametrize(
    "value", ["abc", "sha256:abc", "crc32:0", SHA256.hexdigest()[:-2], hashlib.md5(b"").hexdigest()]
)
def test_what_is_no_digest_is_said_to_be_none(value: str) -> None:
    """A value that cannot be the digest its key is named after is never taken for a right one."""
    assert ["the metadata sha256 is no digest: send it in hexadecimal or base64"] == problems(
        {"sha256": value.encode()}, "sha256"
    )


def test_a_field_of_the_draft_with_a_digest_of_the_wrong_length_is_none() -> None:
    """``Repr-Digest`` with a digest no bytes have is against the upload; unknown algorithms say nothing."""
    (problem,) = problems({"repr-digest": b"sha-256=:AAAA:"})
    assert "repr-digest is no digest" in problem
    assert [] == problems({"repr-digest": b"unixsum=:AAAA:"})


def test_only_the_keys_that_were_asked_for_count() -> None:
    """Metadata under another key, or without a value, claims nothing; the SHA-256 is computed always."""
    assert [] == expected_digests({"hash": b"x", "sha256": b""}, ("sha256",))
    assert [ExpectedDigest("hash", "sha256", None)] == expected_digests({"hash": b"x"}, ("hash",))
    digests = DigestCheck([])
    digests.update(CONTENT)
    assert {"sha256": SHA256.hexdigest()} == digests.hex_digests()
