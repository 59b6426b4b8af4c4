"""The ``Upload-Metadata`` header."""

from __future__ import annotations

import pytest

from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import find_value, format_metadata, parse_metadata


@pytest.mark.parametrize("header", [None, ""])
def test_empty_header(header: str | None) -> None:
    """tus-py-client always sends the header, empty without metadata."""
    assert parse_metadata(header) == {}


def test_parse_metadata() -> None:
    """Values are arbitrary bytes and keep their order."""
    parsed = parse_metadata("filename aGVsbG8udHh0,b /w==,is_secret")
    assert list(parsed.items()) == [("filename", b"hello.txt"), ("b", b"\xff"), ("is_secret", b"")]


@pytest.mark.parametrize("header", ["a ,b YQ==", "a,b YQ==", "a, b YQ==", "a \t,\t b YQ== "])
def test_deviations_of_clients_are_accepted(header: str) -> None:
    """A space after a key with an empty value (tus-js-client), and spaces around commas."""
    assert parse_metadata(header) == {"a": b"", "b": b"a"}


@pytest.mark.parametrize("header", [",", "a,", "a YQ==,a", "é YQ==", "a\x7f", "a\tb", "a YQ", "a  YQ==", "a b c"])
def test_malformed_metadata_400(header: str) -> None:
    """Malformed pairs are not dropped silently, because the client would not notice."""
    with pytest.raises(InvalidMetadata):
        parse_metadata(header)


def test_format_metadata() -> None:
    """A key without a value stands alone; an invalid key is refused."""
    assert format_metadata({"a": b"", "b": b"\xff"}) == "a,b /w=="
    assert format_metadata({}) == ""
    for key in ("", "a b", "a,b", "é", "a\n"):
        with pytest.raises(InvalidMetadata):
            format_metadata({key: b""})


def test_find_value() -> None:
    """One value is decoded without the others; None if the key is missing or its value is no base64."""
    header = "name YQ==,empty, filename  , filetype dGV4dA==,broken !"
    assert (b"a", b"", b"text") == tuple(find_value(header, key) for key in ("name", "empty", "filetype"))
    assert find_value(header, "other") is find_value(header, "broken") is None
