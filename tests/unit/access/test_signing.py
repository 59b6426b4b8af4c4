"""Signed texts: purposes, key ids, rotation, and forgeries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.access.signing import SIGNED_BYTES_MAX, SignatureInvalid, TokenSigner, parse_secret

OLD, NEW = ("k1", b"the older secret of these tests!"), ("k2", b"the newer secret of these tests!")
SIGNER = TokenSigner([NEW, OLD])


@given(payload=st.binary(max_size=200))
def test_payload_comes_back(payload: bytes) -> None:
    """What was signed is verified, and the text is safe in a URL, a cookie and a header."""
    signed = SIGNER.sign("link", payload)
    assert SIGNER.verify("link", signed.encode()) == payload
    assert all(c.isalnum() or c in "-_." for c in signed)


def test_purposes_are_apart() -> None:
    """What was signed for one purpose is not accepted for another."""
    with pytest.raises(SignatureInvalid):
        SIGNER.verify("code", SIGNER.sign("link", b"x").encode())
    assert SIGNER.digest("link", b"x") != SIGNER.digest("code", b"x")


def test_first_secret_signs_and_all_verify() -> None:
    """The first secret signs; an older one still verifies, until it is removed."""
    before = TokenSigner([OLD]).sign("link", b"x").encode()
    assert SIGNER.verify("link", before) == b"x"
    assert SIGNER.sign("link", b"x").startswith("k2.")
    with pytest.raises(SignatureInvalid):
        TokenSigner([NEW]).verify("link", before)
    digest = TokenSigner([OLD]).digest("csrf", b"x")
    assert SIGNER.is_digest("csrf", b"x", digest)
    assert not TokenSigner([NEW]).is_digest("csrf", b"x", digest)


def test_changed_text_is_refused() -> None:
    """A text with any other byte at any place is refused, also where base64 would decode to the same value."""
    signed = SIGNER.sign("link", b"payload").encode()
    for place, byte in enumerate(signed):
        for other in {*range(256)} - {byte}:
            with pytest.raises(SignatureInvalid):
                SIGNER.verify("link", signed[:place] + bytes([other]) + signed[place + 1 :])


def test_long_text_is_refused_unread() -> None:
    """A text above 4096 bytes is refused, also with a genuine signature."""
    fitting, long = (SIGNER.sign("link", bytes(size)).encode() for size in (3000, 3100))
    assert len(fitting) < SIGNED_BYTES_MAX < len(long)
    assert SIGNER.verify("link", fitting) == bytes(3000)
    with pytest.raises(SignatureInvalid):
        SIGNER.verify("link", long)


@given(text=st.binary(max_size=100))
def test_garbage_is_refused(text: bytes) -> None:
    """No input raises anything else."""
    with pytest.raises(SignatureInvalid):
        SIGNER.verify("link", text)


@pytest.mark.parametrize("text", [b"k9.eA.eA", b"k2.eA.", b"k2..", b"..", b"k2.eA.eA.eA", b"k2.eA==.eA", b"x" * 5000])
def test_malformed_text_is_refused(text: bytes) -> None:
    """Unknown key ids, missing parts and wrong encodings."""
    with pytest.raises(SignatureInvalid):
        SIGNER.verify("link", text)


def test_parse_secret() -> None:
    """The secret may contain colons."""
    assert parse_secret("k1:a:b") == ("k1", b"a:b")
