"""The Upload-Metadata header."""

from __future__ import annotations

import pytest

from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata, parse_metadata


@pytest.mark.parametrize("header", [None, ""])
def test_an_empty_header_is_none(header: str | None) -> None:
    """tus-py-client always sends the header, empty when it has nothing to say."""
    assert parse_metadata(header) == {}


def test_keys_with_values() -> None:
    """Values are bytes, whatever they are, and keep their order."""
    parsed = parse_metadata("filename aGVsbG8udHh0,b /w==,is_secret")
    assert list(parsed.items()) == [("filename", b"hello.txt"), ("b", b"\xff"), ("is_secret", b"")]


@pytest.mark.parametrize("header", ["a ,b YQ==", "a,b YQ==", "a, b YQ==", "a \t,\t b YQ== "])
def test_what_clients_do_is_forgiven(header: str) -> None:
    """A space after the key of an empty value (tus-js-client) and spaces around commas."""
    assert parse_metadata(header) == {"a": b"", "b": b"a"}


@pytest.mark.parametrize("header", [",", "a,", "a YQ==,a", "é YQ==", "a\x7f", "a\tb", "a YQ", "a  YQ==", "a b c"])
def test_everything_else_is_refused(header: str) -> None:
    """Bad pairs are not dropped silently: the client would never know."""
    with pytest.raises(InvalidMetadata):
        parse_metadata(header)


def test_formatting() -> None:
    """A key without a value stands alone; a key that no header can carry is refused."""
    assert format_metadata({"a": b"", "b": b"\xff"}) == "a,b /w=="
    assert format_metadata({}) == ""
    for key in ("", "a b", "a,b", "é", "a\n"):
        with pytest.raises(InvalidMetadata):
            format_metadata({key: b""})
