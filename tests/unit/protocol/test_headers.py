"""The header mapping and the syntax that several headers share."""

from __future__ import annotations

import pytest

from tusd_py.protocol.errors import InvalidOffset, MalformedHeader, UnsupportedTransferEncoding
from tusd_py.protocol.headers import (
    NUMBER_MAX,
    SINGLETONS,
    Headers,
    format_base64,
    parse_base64,
    parse_body_length,
    parse_media_type,
    parse_number,
)


def test_whitespace_is_stripped() -> None:
    """Only spaces and tabs are whitespace in HTTP; a no-break space is part of the value."""
    assert Headers([(b"a", b" \t5\t ")]).get(b"a") == "5"
    assert Headers([(b"a", b"\xa05")]).get(b"a") == "\xa05"
    assert Headers([]).get(b"a") is None


def test_repeated_header_is_combined() -> None:
    """Values of the same name are combined in order."""
    headers = Headers([(b"if-match", b'"a"'), (b"x", b"y"), (b"if-match", b'"b"')])
    assert headers.get(b"if-match") == '"a", "b"'
    assert headers.one(b"x") == "y"
    assert b"x" in headers
    assert b"z" not in headers


def test_repeated_list_header_is_allowed() -> None:
    """A repeated header that is a list is not an error."""
    Headers([(b"if-match", b"a"), (b"if-match", b"b"), (b"upload-offset", b"1")]).refuse_repeats()


@pytest.mark.parametrize("name", SINGLETONS)
def test_repeated_singleton_400(name: bytes) -> None:
    """A singleton header that comes twice is refused, even with the same value."""
    headers = Headers([(name, b"1"), (name, b"1")])
    with pytest.raises(MalformedHeader) as refused:
        headers.refuse_repeats()
    assert refused.value.header.lower() == name.decode()
    with pytest.raises(MalformedHeader):
        headers.one(name)


def test_repeated_singleton_error_class() -> None:
    """Two offsets raise the same error as an invalid offset."""
    with pytest.raises(InvalidOffset, match="Upload-Offset: expected one value; it came more than once"):
        Headers([(b"upload-offset", b"0"), (b"upload-offset", b"0")]).one(b"upload-offset")


@pytest.mark.parametrize("number", [0, 1, 9, 10, 1 << 40, NUMBER_MAX])
def test_parse_number(number: int) -> None:
    """Numbers go up to 2**63 - 1."""
    assert parse_number(str(number)) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "01", "1 ", " 1", "1\n", "1_0", "1.0", "٣", "²", "9223372036854775808", "9" * 9999]
)
def test_parse_number_invalid(text: str) -> None:
    """Forms that only int() accepts are invalid."""
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "text",
    ["Y", "YQ", "YQ=", "YQ===", "YQ==YQ==", "Y=Q=", "=", "====", "Y!Q=", "YQ==\n", "_w==", "é", "0000=", "0000===="],
)
def test_parse_base64_invalid(text: str) -> None:
    """Bad padding, other alphabets and junk are not skipped."""
    assert parse_base64(text) is None


def test_base64_has_the_standard_alphabet_and_padding() -> None:
    """The standard alphabet with padding."""
    assert parse_base64("+/8=") == b"\xfb\xff"
    assert format_base64(b"\xfb\xff") == "+/8="
    assert parse_base64("") == b""


@pytest.mark.parametrize("text", ["a/b", "A/B", "a/B ; charset=x", "a/b\t;x;y"])
def test_parse_media_type(text: str) -> None:
    """Case and parameters are ignored."""
    assert parse_media_type(text) == "a/b"


def test_parse_body_length() -> None:
    """The length is that of Content-Length, or unknown."""
    assert parse_body_length(Headers([(b"content-length", b"0")])) == 0
    assert parse_body_length(Headers([(b"content-length", b"5")])) == 5
    assert parse_body_length(Headers([])) is None
    assert parse_body_length(Headers([(b"transfer-encoding", b"Chunked")])) is None


def test_parse_body_length_invalid() -> None:
    """Invalid lengths, two framings, and codings other than chunked are refused."""
    with pytest.raises(MalformedHeader):
        parse_body_length(Headers([(b"content-length", b"+5")]))
    with pytest.raises(MalformedHeader):
        parse_body_length(Headers([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]))
    with pytest.raises(UnsupportedTransferEncoding):
        parse_body_length(Headers([(b"transfer-encoding", b"gzip"), (b"transfer-encoding", b"chunked")]))
