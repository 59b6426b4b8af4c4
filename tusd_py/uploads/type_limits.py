"""The media types that a client may upload by its credentials, compared with what it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from tusd_py.model.caller import Caller
from tusd_py.model.principal import Principal
from tusd_py.model.upload import ALLOWED_TYPES, NO_DETAILS, Kind
from tusd_py.protocol.errors import InvalidMetadata, TypeNotAllowed
from tusd_py.protocol.metadata import declared_type, parse_metadata

#: The key of Upload-Metadata that has the type, as tus clients name it.
_TYPE = "filetype"


def allowed_types_detail(caller: Caller) -> Mapping[str, str]:
    """The detail in the history of a new upload that names its allowed types, for the validation."""
    if caller.new_link is not None and caller.new_link.types:
        types: tuple[str, ...] | None = caller.new_link.types
    else:
        types = None if caller.principal is None else caller.principal.limits.types
    return NO_DETAILS if types is None else {ALLOWED_TYPES: " ".join(types)}


def ensure_types_within(principal: Principal, types: Sequence[str]) -> None:
    """Raise ``TypeNotAllowed`` unless ``principal`` may upload all that the patterns ``types`` of a link allow.

    A pattern that matches another one as a text, in which ``*`` is an ordinary character, allows all that it does.
    """
    allowed = principal.limits.types
    if allowed is None:
        return
    for each in types:
        if not any(fnmatchcase(each.lower(), pattern.lower()) for pattern in allowed):
            raise TypeNotAllowed(f"the types of a link must be among {', '.join(allowed)}")


def ensure_type_named(principal: Principal, metadata: Mapping[str, str]) -> None:
    """Raise ``TypeNotAllowed`` for the metadata of a link without a type, if ``principal`` may upload some only."""
    types = principal.limits.types
    if types is not None and not metadata.get(_TYPE):
        expected = ", ".join(types)
        raise TypeNotAllowed(
            f"these credentials upload only {expected}, so metadata must have a {_TYPE} that is one of them"
        )


def ensure_type_allowed(principal: Principal | None, metadata_header: str | None, kind: Kind = Kind.REGULAR) -> None:
    """Raise ``TypeNotAllowed`` unless the declared type is one that ``principal`` may upload.

    Whether the bytes have this type is found out by validation. A part of a parallel upload needs to declare none,
    because its final upload does.
    """
    types = None if principal is None else principal.limits.types
    if types is None:
        return
    try:
        declared = declared_type(parse_metadata(metadata_header))
    except InvalidMetadata:
        declared = ""
    if kind is Kind.PARTIAL and not declared:
        return
    if not any(fnmatchcase(declared, pattern.lower()) for pattern in types):
        raise TypeNotAllowed(f"{_TYPE} in Upload-Metadata must be one of {', '.join(types)}")
