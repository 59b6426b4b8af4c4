"""Which heads of requests are accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.serving.http.request_head import BadRequest, Framing, check

HOST = (b"host", b"x")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    "value", [b"x", b"", b"x:80", b"x:", b"10.0.0.1:8080", b"[::1]", b"[fe80::1]:80", b"a_b.example", b"x%20", b"x \t"]
)
def test_valid_hosts(value: bytes) -> None:
    """RFC 3986: a name, an address or a literal, with or without a port."""
    assert Framing() == check([(b"host", value)], "1.1")


@pytest.mark.parametrize(
    "value", [b"a b", b"a/b", b"a@b", b"a:b", b"a:80:80", b"[::1", b"::1", b"a\\b", b"a?b", b"a#b", b"\xe9", b"a,b:1:2"]
)
def test_invalid_hosts_400(value: bytes) -> None:
    """A host that could be read in two ways, or contains a path or a user, is refused."""
    with pytest.raises(BadRequest) as refused:
        check([(b"host", value)], "1.1")
    assert 400 == refused.value.status


def test_number_of_hosts_400() -> None:
    """RFC 9112, 3.2: exactly one; only HTTP/1.0 may have none."""
    assert Framing() == check([], "1.0")
    assert Framing() == check([HOST], "1.0")
    for headers, version in (([], "1.1"), ([HOST, HOST], "1.1"), ([HOST, HOST], "1.0")):
        with pytest.raises(BadRequest):
            check(headers, version)


@pytest.mark.parametrize("value", [b"gzip, chunked", b"gzip", b"identity", b"chunked, chunked", b"", b"xchunked"])
def test_other_transfer_encodings_400(value: bytes) -> None:
    """A body in another coding would be stored as it came over the wire."""
    with pytest.raises(BadRequest):
        check([HOST, (b"transfer-encoding", value)], "1.1")


def test_ambiguous_length_400() -> None:
    """RFC 9112, 6.3: a message with two lengths is refused."""
    for headers in ([CHUNKED, CHUNKED], [CHUNKED, (b"content-length", b"5")], [(b"content-length", b"5"), CHUNKED]):
        with pytest.raises(BadRequest):
            check([HOST, *headers], "1.1")
    with pytest.raises(BadRequest):
        check([HOST, CHUNKED], "1.0")
    assert Framing(is_chunked=True) == check([HOST, (b"transfer-encoding", b" Chunked ")], "1.1")
    assert Framing(length=5) == check([HOST, (b"content-length", b"5 ")], "1.1")


def test_framing_has_continue_and_declared_trailers_of_chunked_bodies() -> None:
    """Whether the client expects 100 Continue, and which trailers it declared, for a chunked body only."""
    assert Framing(expects_continue=True) == check([HOST, (b"expect", b"100-Continue")], "1.1")
    assert Framing() == check([HOST, (b"expect", b"200-ok")], "1.1")
    trailer = (b"trailer", b"A, b ,\tUpload-Checksum")
    assert frozenset({b"a", b"b", b"upload-checksum"}) == check([HOST, CHUNKED, trailer], "1.1").trailers
    assert frozenset() == check([HOST, trailer, (b"content-length", b"5")], "1.1").trailers


NAMES = st.sampled_from([b"host", b"transfer-encoding", b"content-length", b"trailer", b"expect", b"other"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=12))), st.sampled_from(["1.0", "1.1"]))
def test_junk_raises_only_bad_request(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Arbitrary headers raise ``BadRequest`` or nothing."""
    try:
        check(headers, version)
    except BadRequest as refused:
        assert 400 == refused.status
        assert str(refused).isascii()
