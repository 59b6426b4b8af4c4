"""Which dialect a request speaks."""

from __future__ import annotations

import pytest

from tusd_py.protocol.draft.versions import UNVERSIONED, VERSIONS, Dialect, Version, negotiate
from tusd_py.protocol.errors import MalformedHeader
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.requests import Head

TUS = (b"tus-resumable", b"1.0.0")


def spoken(method: str, path: str, *headers: tuple[bytes, bytes]) -> Dialect | Version:
    return negotiate(Head(method=method, path=path, headers=Headers(list(headers))), method)


def draft(number: bytes) -> tuple[bytes, bytes]:
    return (b"upload-draft-interop-version", number)


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9])
def test_every_version_is_chosen_by_its_number(number: int) -> None:
    """R1: the version named is the one spoken, with every method of its own."""
    assert number == VERSIONS[number].number
    for method, path in (("POST", ""), ("PUT", "/"), ("PATCH", "a"), ("HEAD", "a"), ("DELETE", "a")):
        assert spoken(method, path, draft(b"%d" % number)) is VERSIONS[number]


def test_get_is_a_question_only_since_it_was_made_one() -> None:
    """R8: from version 8 on GET tells the offset; with an older one it is a download."""
    assert spoken("GET", "a", draft(b"8")) is VERSIONS[8]
    assert spoken("GET", "a", draft(b"7")) is Dialect.TUS
    assert spoken("GET", "a") is Dialect.TUS


def test_both_at_once() -> None:
    """Who claims to speak both dialects is refused, whatever version it is."""
    for number in (b"6", b"99", b"x"):
        with pytest.raises(MalformedHeader, match="beside Tus-Resumable"):
            spoken("PATCH", "a", TUS, draft(number))


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "POST", "GET"])
def test_tus(method: str) -> None:
    """Tus-Resumable is tus, also where Upload-Complete stands beside it."""
    assert spoken(method, "", TUS) is Dialect.TUS
    assert spoken(method, "", TUS, (b"upload-complete", b"?1")) is Dialect.TUS


@pytest.mark.parametrize("headers", [[], [draft(b"2")], [draft(b"10")], [draft(b"x")], [draft(b"6"), draft(b"6")]])
def test_no_version_that_is_known(headers: list[tuple[bytes, bytes]]) -> None:
    """R1: without a version that is spoken here, a whole upload is taken as one; tus refuses a part."""
    for method in ("POST", "PUT", "PATCH"):
        assert spoken(method, "/", *headers, (b"upload-complete", b"?1")) is UNVERSIONED
        assert spoken(method, "/", *headers, (b"upload-complete", b"?0")) is Dialect.TUS
        assert spoken(method, "/", *headers, (b"upload-complete", b"yes")) is Dialect.TUS
        assert spoken(method, "/", *headers) is Dialect.TUS
    for method in ("PATCH", "DELETE", "GET"):
        assert spoken(method, "a", *headers, (b"upload-complete", b"?1")) is Dialect.TUS
    assert spoken("HEAD", "a", *headers) is Dialect.BOTH


def test_options_suits_both() -> None:
    """R14: a preflight cannot name a dialect; what else is sent with OPTIONS is ignored."""
    assert spoken("OPTIONS", "") is Dialect.BOTH
    assert spoken("OPTIONS", "a", TUS, draft(b"6")) is Dialect.BOTH


def test_switched_off() -> None:
    """Without any version, the draft is not spoken at all: what it would have been is tus, or refused by it."""
    head = Head(method="POST", path="", headers=Headers([draft(b"6"), (b"upload-complete", b"?1")]))
    assert negotiate(head, "POST", {}) is Dialect.TUS
