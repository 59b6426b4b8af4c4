"""Derives a ``Principal`` from the claims of a verified token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tusd_py.model.principal import ASSIGNABLE_ROLES, NO_LIMITS, Principal, PrincipalLimits, Role

#: Longer subjects are refused: an owner is a column with an index, and part of published names.
SUBJECT_CHARACTERS_MAX = 255
_BYTES_MAX = 2**63 - 1
#: A media type or a pattern of them, at most this many of which a token may have.
_TYPE = re.compile(r"[A-Za-z0-9*][A-Za-z0-9!#$&^_.+*-]{0,126}/[A-Za-z0-9*][A-Za-z0-9!#$&^_.+*-]{0,126}", re.ASCII)
_TYPES_MAX = 100
_GRANTABLE = frozenset(role.value for role in ASSIGNABLE_ROLES)


class ClaimInvalid(Exception):
    """A claim is missing or has no usable value; the text names the claim and contains none of its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNames:
    """The names of the claims to read. Dots lead into objects (``realm_access.roles``); an empty name is not read."""

    subject: str = "sub"
    roles: str = "roles"
    length_max: str = ""
    bytes_per_day: str = ""
    bytes_per_month: str = ""
    allowed_types: str = ""
    default_roles: frozenset[Role] = frozenset({Role.UPLOADER})


def principal_of(claims: Mapping[str, Any], names: ClaimNames, *, is_expired: bool = False) -> Principal:
    """The principal that ``claims`` describe. Raises ``ClaimInvalid``."""
    return Principal(
        subject=_subject(claims, names.subject),
        roles=_roles(claims, names),
        method="jwt",
        is_expired=is_expired,
        limits=_limits(claims, names),
    )


def _subject(claims: Mapping[str, Any], name: str) -> str:
    value = _lookup(claims, name)
    # Control characters would let two subjects look alike wherever owners are shown.
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > SUBJECT_CHARACTERS_MAX:
        raise ClaimInvalid(f"{name} must be text of 1 to {SUBJECT_CHARACTERS_MAX} printable characters")
    return value


def _roles(claims: Mapping[str, Any], names: ClaimNames) -> frozenset[Role]:
    value = _lookup(claims, names.roles)
    if value is None:
        return names.default_roles
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ClaimInvalid(f"{names.roles} must be a list of roles, or text with spaces between them")
    # Other roles are those of other services. A token cannot grant "anonymous".
    return frozenset(Role(item) for item in items if isinstance(item, str) and item in _GRANTABLE)


def _limits(claims: Mapping[str, Any], names: ClaimNames) -> PrincipalLimits:
    if not (names.length_max or names.bytes_per_day or names.bytes_per_month or names.allowed_types):
        return NO_LIMITS
    return PrincipalLimits(
        length_max=_bytes(claims, names.length_max),
        bytes_per_day=_bytes(claims, names.bytes_per_day),
        bytes_per_month=_bytes(claims, names.bytes_per_month),
        types=_types(claims, names.allowed_types),
    )


def _bytes(claims: Mapping[str, Any], name: str) -> int | None:
    value = _lookup(claims, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _BYTES_MAX:
        raise ClaimInvalid(f"{name} must be a number of bytes")
    return value


def _types(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = _lookup(claims, name)
    if value is None:
        return None
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > _TYPES_MAX:
        raise ClaimInvalid(f"{name} must be a list of at most {_TYPES_MAX} media types")
    if not all(isinstance(item, str) and _TYPE.fullmatch(item) for item in items):
        raise ClaimInvalid(f"{name} must be a list of media types such as image/png or image/*")
    return tuple(item.lower() for item in items)


def _lookup(claims: Mapping[str, Any], name: str) -> Any:
    """The claim with this name, or the one at this path; ``None`` if there is none."""
    if not name:
        return None
    if name in claims:
        return claims[name]
    value: Any = claims
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
