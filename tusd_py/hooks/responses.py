"""What every hook's answer is held to, whoever gave it. How it came here is its transport's business."""

from __future__ import annotations

from collections.abc import Callable

from tusd_py.contracts.hooks import HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.model.ids import is_owner, is_storage_path, is_upload_id
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata

#: Told after each hook that was asked or told: which it was, and whether it failed.
CountInvocation = Callable[[Hook, bool], None]


def validate_response(answer: object) -> str | None:
    """What is wrong with a hook's answer, as it follows the hook's name; None if nothing is."""
    if answer is None:
        return None
    if not isinstance(answer, HookResponse):
        return f"returned {type(answer).__name__}; return a HookAnswer or None"
    if answer.upload_id is not None and not is_upload_id(answer.upload_id):
        return f"chose the id {answer.upload_id!r}; ids are letters, digits and -_~!$'()*+,=@, at most 128"
    if answer.storage_path is not None and not is_storage_path(answer.storage_path):
        return (
            f"chose the path {answer.storage_path!r}; it must be relative, without '..' and names that begin with a "
            "dot, and have a slash or a dot in it"
        )
    if answer.owner is not None and not (isinstance(answer.owner, str) and is_owner(answer.owner)):
        return f"chose the owner {answer.owner!r}; an owner has at most 255 characters and no control characters"
    status = answer.override.status if answer.override is not None else None
    if status is not None and not 200 <= status <= 599:
        return f"answered with the status {status!r}; a status is a number from 200 to 599"
    try:
        format_metadata(dict.fromkeys(answer.metadata or {}, b""))
    except InvalidMetadata as failure:
        return f"changed the metadata: {failure}"
    if not all(isinstance(value, str | bytes) for value in (answer.metadata or {}).values()):
        return "changed the metadata: values are text or bytes"
    return None
