"""The ``Upload-Metadata`` header."""

from __future__ import annotations

import pytest

from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata, parse_metadata, read_metadata


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


def test_read_metadata() -> None:
    """The values of ``parse_metadata``, which cannot be changed; what it refuses is refused each time."""
    read = read_metadata("name YQ==,empty")
    assert read == {"name": b"a", "empty": b""} and read is read_metadata("name YQ==,empty")
    with pytest.raises(TypeError):
        read["name"] = b"b"  # type: ignore[index]
    for _ in range(2):
        with pytest.raises(InvalidMetadata):
            read_metadata("broken !")
