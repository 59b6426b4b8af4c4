"""Declared digests: every usual form is understood, and each is compared with the bytes."""

from __future__ import annotations

import hashlib
import time
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
def test_a_matching_digest_is_no_violation(key: str, value: str) -> None:
    """Hexadecimal or base64, with or without a prefix; one more byte is a violation."""
    assert [] == problems({key: value.encode()}, "sha256", "checksum", "md5", "sha1")
    wrong = DigestCheck(expected_digests({key: value.encode()}, ("sha256", "checksum", "md5", "sha1")))
    wrong.update(CONTENT + b"!")
    (problem,) = wrong.violations()
    assert f"that the metadata {key} declares" in problem


@pytest.mark.parametrize(
    "value", ["abc", "sha256:abc", "crc32:0", SHA256.hexdigest()[:-2], hashlib.md5(b"").hexdigest()]
)
def test_an_invalid_digest_is_a_violation(value: str) -> None:
    """A value that cannot be a digest of the algorithm of its key."""
    assert ["the metadata sha256 is not a digest; send it in hexadecimal or base64"] == problems(
        {"sha256": value.encode()}, "sha256"
    )


@pytest.mark.parametrize(
    ("separator", "first"),
    [(":", b"\xf8"), (" : ", b"\xfc"), ("= ", b"\xf8"), ("  ", b"\xfc"), ("-", b"\xf8")],
)
def test_separators_of_a_prefix(separator: str, first: bytes) -> None:
    """A colon, an equals sign, a hyphen or spaces; a digest may begin with the hyphen of base64url."""
    digest = first + bytes(31)
    value = f"sha256{separator}{urlsafe_b64encode(digest).decode()}".encode()
    assert [ExpectedDigest("checksum", "sha256", digest)] == expected_digests({"checksum": value}, ("checksum",))


@pytest.mark.parametrize("value", [b"sha1" + b" " * 6000 + b"a b", b"0" * 6000, b"sha256:" + b"A" * 6000])
def test_a_long_value_is_no_digest_and_costs_nothing(value: bytes) -> None:
    """Metadata of 8 KiB is allowed; the first of these took 0.6 seconds of the event loop."""
    before = time.thread_time()
    for _ in range(100):
        assert [ExpectedDigest("md5", "md5", None)] == expected_digests({"md5": value}, ("md5",))
    assert time.thread_time() - before < 0.5


def test_repr_digest_of_a_wrong_length_is_a_violation() -> None:
    """Unknown algorithms in ``Repr-Digest`` are ignored."""
    (problem,) = problems({"repr-digest": b"sha-256=:AAAA:"})
    assert "repr-digest is not a digest" in problem
    assert [] == problems({"repr-digest": b"unixsum=:AAAA:"})


def test_only_configured_keys_count() -> None:
    """Other keys and empty values are ignored; the SHA-256 is always computed."""
    assert [] == expected_digests({"hash": b"x", "sha256": b""}, ("sha256",))
    assert [ExpectedDigest("hash", "sha256", None)] == expected_digests({"hash": b"x"}, ("hash",))
    digests = DigestCheck([])
    digests.update(CONTENT)
    assert {"sha256": SHA256.hexdigest()} == digests.hex_digests()
