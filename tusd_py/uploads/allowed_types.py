"""The media types that the credentials of a request allow: checked at creation, and kept for the validation."""

from __future__ import annotations

from collections.abc import Mapping

from tusd_py.model.principal import Principal
from tusd_py.model.steps import VALIDATION
from tusd_py.model.upload import ALLOWED_TYPES, NO_DETAILS, Kind
from tusd_py.protocol.errors import TypeNotAllowed
from tusd_py.protocol.metadata import declared_type, parse_metadata
from tusd_py.protocol.requests import Create
from tusd_py.uploads.ports import Ports


def ensure_type_allowed(ports: Ports, request: Create, principal: Principal | None) -> None:
    """Raise ``TypeNotAllowed`` if the credentials do not allow the declared type of the new upload.

    Without a declared type the validation decides, if there is one. Parts are not checked: the final upload is.
    """
    allowed = None if principal is None else principal.limits.media_types
    if allowed is None or request.kind is Kind.PARTIAL:
        return
    declared = declared_type(parse_metadata(request.metadata_header))
    if not declared and VALIDATION.name not in ports.policy.steps:
        raise TypeNotAllowed("no type was declared (metadata filetype)")
    if declared and not ports.is_type_allowed(allowed, declared):
        raise TypeNotAllowed(f"its type is not one of {', '.join(allowed) or 'none'}")


def allowed_types_detail(principal: Principal | None) -> Mapping[str, str]:
    """What the history of a new upload says about the allowed types, for the validation; usually nothing."""
    allowed = None if principal is None else principal.limits.media_types
    return NO_DETAILS if allowed is None else {ALLOWED_TYPES: " ".join(allowed)}
