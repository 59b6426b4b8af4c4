"""Validation of hook responses, the same for HTTP, programs and Python callables."""

from __future__ import annotations

from collections.abc import Callable

from tusd_py.contracts.hooks import HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.model.ids import is_foreign_path, is_owner, is_storage_path, is_upload_id
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata

#: Called after each invocation of a hook, with the hook and whether it failed; for metrics.
CountInvocation = Callable[[Hook, bool], None]


def validate_response(response: object) -> str | None:
    """What is wrong with the response of a hook, or ``None``. The text follows the name of the hook in a sentence."""
    if response is None:
        return None
    if not isinstance(response, HookResponse):
        return f"returned {type(response).__name__}; return a HookResponse or None"
    if response.upload_id is not None and not is_upload_id(response.upload_id):
        return f"chose the id {response.upload_id!r}; ids are letters, digits and -_~!$'()*+,=@, at most 128"
    if response.storage_path is not None and not is_storage_path(response.storage_path):
        return (
            f"chose the path {response.storage_path!r}; it must be relative, without '..' and names that begin with a "
            "dot, and have a slash or a dot in it"
        )
    if response.owner is not None and not (isinstance(response.owner, str) and is_owner(response.owner)):
        return f"chose the owner {response.owner!r}; an owner has at most 255 characters and no control characters"
    moved = response.moved_to
    if moved is not None and not (isinstance(moved, str) and is_foreign_path(moved)):
        return f"moved the bytes to {moved!r}; a path has 1 to 4096 characters, none of them for control"
    status = response.override.status if response.override is not None else None
    if status is not None and not 200 <= status <= 599:
        return f"answered with the status {status!r}; a status is a number from 200 to 599"
    try:
        format_metadata(dict.fromkeys(response.metadata or {}, b""))
    except InvalidMetadata as failure:
        return f"changed the metadata: {failure}"
    if not all(isinstance(value, str | bytes) for value in (response.metadata or {}).values()):
        return "changed the metadata: values are text or bytes"
    return None
