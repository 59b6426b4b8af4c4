"""Claims of tokens: the subject, the roles and the limits that they give."""

from __future__ import annotations

from typing import Any

import pytest

from tusd_py.access.claims import ClaimInvalid, ClaimNames, principal_of
from tusd_py.model.principal import NO_LIMITS, PrincipalLimits, Role

NAMES = ClaimNames(length_max="limits.length")


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["admin", "viewer"], {Role.ADMIN, Role.VIEWER}),
        ("uploader moderator", {Role.UPLOADER, Role.MODERATOR}),
        (["offline_access", "admin"], {Role.ADMIN}),
        ([], set()),
        ("", set()),
        (["anonymous", {"a": 1}, None, ["admin"]], set()),
        (None, {Role.UPLOADER}),
    ],
)
def test_roles_of_other_services_are_ignored(roles: object, expected: set[Role]) -> None:
    """A list or text; roles of other services are ignored; only a token without the claim has the default roles."""
    claims = {"sub": "a", **({} if roles is None else {"roles": roles})}
    assert principal_of(claims, NAMES).roles == expected


def test_paths_lead_into_objects() -> None:
    """Dots lead into objects; a claim whose name has dots comes first."""
    names = ClaimNames(subject="user.id", roles="realm_access.roles", default_roles=frozenset())
    claims = {"user": {"id": "u1"}, "realm_access": {"roles": ["admin"]}}
    found = principal_of(claims, names)
    assert found.subject == "u1"
    assert found.roles == {Role.ADMIN}
    assert principal_of({**claims, "user.id": "u2"}, names).subject == "u2"
    assert principal_of({"user": {"id": "u1"}, "realm_access": "x"}, names).roles == set()


@pytest.mark.parametrize("subject", [None, "", 7, True, [], "a\nb", "a\x00", "a\u200bb", "x" * 256, " \u2028"])
def test_unusable_subjects_are_refused(subject: object) -> None:
    """A subject is an owner: text that is printable, not empty and not too long."""
    with pytest.raises(ClaimInvalid) as invalid:
        principal_of({"sub": subject}, NAMES)
    assert "sub" in str(invalid.value)


@pytest.mark.parametrize("value", [-1, 1.5, True, "9", 2**63, [], {}])
def test_unusable_limits_are_refused(value: object) -> None:
    """A limit that cannot be read is not "no limit"."""
    with pytest.raises(ClaimInvalid):
        principal_of({"sub": "a", "limits": {"length": value}}, NAMES)


def test_limit_is_taken_from_its_claim() -> None:
    """A limit is taken from its claim; without the claim the server's own apply."""
    claims: dict[str, Any] = {"sub": "a", "limits": {"length": 10}}
    assert principal_of(claims, NAMES).limits == PrincipalLimits(length_max=10)
    assert principal_of({"sub": "a"}, NAMES).limits == NO_LIMITS
    assert principal_of(claims, ClaimNames()).limits == NO_LIMITS


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (["image/*", "Text/CSV"], ("image/*", "text/csv")),
        ("image/png text/plain", ("image/png", "text/plain")),
        ([], ()),
        (None, None),
    ],
)
def test_allowed_types(value: object, types: tuple[str, ...] | None) -> None:
    """A list, or text with spaces; no claim allows all types, an empty list none."""
    names = ClaimNames(allowed_types="types")
    assert principal_of({"sub": "a", "types": value}, names).limits.types == types


@pytest.mark.parametrize("value", [5, {"a": 1}, [5], ["image"], ["a/b\r\nx"], "image/png, text/plain", ["a/b"] * 101])
def test_allowed_types_that_are_none(value: object) -> None:
    """Anything else is refused: a limit that is not understood must not be ignored."""
    with pytest.raises(ClaimInvalid):
        principal_of({"sub": "a", "types": value}, ClaimNames(allowed_types="types"))
