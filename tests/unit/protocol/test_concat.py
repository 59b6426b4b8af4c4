"""The ``Upload-Concat`` header."""

from __future__ import annotations

import pytest

from tusd_py.model.upload import Kind
from tusd_py.protocol.concat import CollectionUrl, Concat, parse_concat
from tusd_py.protocol.concat_errors import InvalidParts, TooManyParts
from tusd_py.protocol.errors import InvalidConcat

HERE = CollectionUrl(base_paths=("/files/", "/behind/proxy/"))


def test_partial_stands_alone() -> None:
    """``partial`` stands alone."""
    assert parse_concat("partial", HERE) == Concat(Kind.PARTIAL)


@pytest.mark.parametrize(
    "url",
    [
        "/files/a1",
        "/files/a1/",
        "/files/a1?x=/files/b",
        "/files/a1#x",
        "/files/./a1",
        "/files/x/../a1",
        "/files/%61%31",
        "/behind/proxy/a1",
        "http://tus.test/files/a1",
        "HTTPS://tus.test:8443/behind/proxy/a1",
        "//tus.test/files/a1",
        "a1",
        "./a1",
        "../files/a1",
    ],
)
def test_urls_of_parts(url: str) -> None:
    """URLs may be absolute or relative to the collection, under each of its paths."""
    assert parse_concat(f"final;{url}", HERE) == Concat(Kind.FINAL, ("a1",))


def test_order_and_repetition_are_kept() -> None:
    """A part may be repeated, and a space after the semicolon is accepted."""
    assert parse_concat("final; /files/b /files/a /files/b", HERE).parts == ("b", "a", "b")


@pytest.mark.parametrize(
    "url",
    [
        "/files/",
        "/a1",
        "/filesa1",
        "/other/a1",
        "/files/x/a1",
        "/files/../a1",
        "/files/..%2fa1",
        "/files/%2e%2e",
        "/files/a1;x",
        "?x=a1",
        "#a1",
        "ftp://tus.test/files/a1",
        "javascript:a1",
        "http://[x/files/a1",
        "http://tus.test",
    ],
)
def test_foreign_urls_400(url: str) -> None:
    """A URL that is not an upload of this server is refused, always with the same message."""
    with pytest.raises(InvalidParts):
        parse_concat(f"final;{url}", HERE)


@pytest.mark.parametrize(
    "header", ["", "Partial", "partial;", "final", "final;", "final; ", "final;  a", "final;a  b", "final;é", "x;a"]
)
def test_malformed_header_400(header: str) -> None:
    """The keywords are case-sensitive, and URLs are separated by one space."""
    with pytest.raises(InvalidConcat):
        parse_concat(header, HERE)


@pytest.mark.parametrize(
    "authority", ["tus.test", "TUS.test", "tus.test:80", "user@tus.test", "[::1]", "[::1]:80", "other.test:8080"]
)
def test_allowed_hosts(authority: str) -> None:
    """A host without a port is allowed on every port, one with a port only on that port. Relative URLs have no host."""
    place = CollectionUrl(base_paths=("/files/",), hosts=("tus.test", "[::1]", "other.test:8080"))
    assert parse_concat(f"final;http://{authority}/files/a /files/b", place).parts == ("a", "b")


@pytest.mark.parametrize(
    "authority", ["evil.test", "tus.test.evil", "tus.test@evil.test", "other.test", "other.test:80", "[::2]"]
)
def test_other_hosts_400(authority: str) -> None:
    """With a list of hosts, URLs of other hosts are refused."""
    place = CollectionUrl(base_paths=("/files/",), hosts=("tus.test", "[::1]", "other.test:8080"))
    with pytest.raises(InvalidParts):
        parse_concat(f"final;http://{authority}/files/a", place)


def test_too_many_parts_413() -> None:
    """One part more than allowed is refused before any part is parsed."""
    assert len(parse_concat("final;a b", HERE, 2).parts) == 2
    with pytest.raises(TooManyParts, match="at most 2 partial"):
        parse_concat("final;a b ://", HERE, 2)
