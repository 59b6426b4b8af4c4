"""The choice of the protocol version for a request."""

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
    """R1: the named version is used for each of its methods."""
    assert number == VERSIONS[number].number
    for method, path in (("POST", ""), ("PUT", "/"), ("PATCH", "a"), ("HEAD", "a"), ("DELETE", "a")):
        assert spoken(method, path, draft(b"%d" % number)) is VERSIONS[number]


def test_get_since_version_8() -> None:
    """R8: since version 8 GET retrieves the offset; in older versions it is a download."""
    assert spoken("GET", "a", draft(b"8")) is VERSIONS[8]
    assert spoken("GET", "a", draft(b"7")) is Dialect.TUS
    assert spoken("GET", "a") is Dialect.TUS


def test_both_protocols_400() -> None:
    """A request that names both protocols is refused, for every version."""
    for number in (b"6", b"99", b"x"):
        with pytest.raises(MalformedHeader, match="beside Tus-Resumable"):
            spoken("PATCH", "a", TUS, draft(number))


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "POST", "GET"])
def test_tus_resumable_means_tus(method: str) -> None:
    """Tus-Resumable means tus, even together with Upload-Complete."""
    assert spoken(method, "", TUS) is Dialect.TUS
    assert spoken(method, "", TUS, (b"upload-complete", b"?1")) is Dialect.TUS


@pytest.mark.parametrize("headers", [[], [draft(b"2")], [draft(b"10")], [draft(b"x")], [draft(b"6"), draft(b"6")]])
def test_unknown_version(headers: list[tuple[bytes, bytes]]) -> None:
    """R1: without a known version a whole upload is accepted; anything else is handled as tus."""
    for method in ("POST", "PUT", "PATCH"):
        assert spoken(method, "/", *headers, (b"upload-complete", b"?1")) is UNVERSIONED
        assert spoken(method, "/", *headers, (b"upload-complete", b"?0")) is Dialect.TUS
        assert spoken(method, "/", *headers, (b"upload-complete", b"yes")) is Dialect.TUS
        assert spoken(method, "/", *headers) is Dialect.TUS
    for method in ("PATCH", "DELETE", "GET"):
        assert spoken(method, "a", *headers, (b"upload-complete", b"?1")) is Dialect.TUS
    assert spoken("HEAD", "a", *headers) is Dialect.BOTH


def test_options_is_for_both() -> None:
    """R14: a preflight cannot name a version; a named version only decides on Accept-Patch."""
    assert spoken("OPTIONS", "") is Dialect.BOTH
    assert spoken("OPTIONS", "", draft(b"9")) is Dialect.BOTH
    assert spoken("OPTIONS", "", draft(b"99")) is Dialect.BOTH
    assert spoken("OPTIONS", "", draft(b"8")) is Dialect.BOTH_WITH_ACCEPT_PATCH
    assert spoken("OPTIONS", "a", TUS, draft(b"6")) is Dialect.BOTH_WITH_ACCEPT_PATCH


def test_draft_disabled() -> None:
    """Without versions every request is handled as tus."""
    head = Head(method="POST", path="", headers=Headers([draft(b"6"), (b"upload-complete", b"?1")]))
    assert negotiate(head, "POST", {}) is Dialect.TUS
