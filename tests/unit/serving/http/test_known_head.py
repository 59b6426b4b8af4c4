"""``KnownHead``: what it recognises the parser would read as the same values."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusd_py.serving.http.known_head import KnownHead
from tusd_py.serving.http.scope import Target, split_target

NAMES = (b"upload-length", b"upload-metadata")
HEAD = (
    b"POST /files/ HTTP/1.1\r\nHost: a\r\nUpload-Length: 5\r\nTus-Resumable: 1.0.0\r\nupload-metadata:filename YQ==\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Parsed:
    """What the parser reports of one request."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method = parser.get_method().decode()
        self.keeps_alive = parser.should_keep_alive()

    @property
    def target(self) -> Target:
        return split_target(self.url)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.is_complete = True


def known(data: bytes = HEAD, names: tuple[bytes, ...] = NAMES) -> KnownHead | None:
    parsed = Parsed(data)
    return KnownHead.of(data, parsed.method, parsed.target, parsed.headers, names)


def test_values_that_differ() -> None:
    """The values of the named headers are returned as text, and the headers are those of the parser."""
    head = known()
    assert head is not None
    assert ("5", "filename YQ==") == head.values_in(HEAD)
    other = HEAD.replace(b": 5", b": 1234").replace(b"YQ==", b"YWI=,filetype Yg==")
    assert ("1234", "filename YWI=,filetype Yg==") == head.values_in(other)
    assert Parsed(other).headers == head.headers_with(["1234", "filename YWI=,filetype Yg=="])


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"Upload-Length: 5\r\n", b""),
        HEAD.replace(b"Upload-Length", b"Upload-Length: 5\r\nUpload-Length"),
        HEAD.replace(b"Upload-Length: 5", b"Upload-Length:  5"),
        HEAD.replace(b"Content-Length: 0", b"Content-Length: 1") + b"x",
        HEAD.replace(b"Host: a", b"Host: " + b"a" * 5000),
    ],
)
def test_heads_that_are_not_kept(data: bytes) -> None:
    """Without one of the headers, with two, with odd spaces, with a body, and very long ones."""
    assert known(data) is None


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(HEAD)),
        st.integers(0, 3),
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from(
                [b"\r\n", b"\n", b" ", b"\t", b":", b"\r\n ", b"5", b"Upload-Length: 6\r\n", b"\x00", b"\xe9"]
            ),
        ),
    ),
    max_size=3,
)


@settings(max_examples=1000, deadline=None)
@given(MUTATIONS, st.text("0123456789abcXYZ=,; \t\x7f\x80\r\n", max_size=12))
def test_whatever_is_recognised_is_parsed_alike(mutations: list[tuple[int, int, bytes]], value: str) -> None:
    """Any change of a head that is recognised: the parser accepts it, complete, with the same headers."""
    head = known()
    assert head is not None
    data = HEAD.replace(b"YQ==", value.encode("latin-1")) if value else HEAD
    for at, removed, inserted in mutations:
        data = data[:at] + inserted + data[at + removed :]
    values = head.values_in(data)
    if values is not None:
        parsed = Parsed(data)
        assert parsed.is_complete and parsed.keeps_alive
        assert (head.method, head.target) == (parsed.method, parsed.target)
        assert parsed.headers == head.headers_with(values)
