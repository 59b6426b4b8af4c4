"""Log lines about uploads: one when an upload is created, finished or ended, none for its chunks."""

from __future__ import annotations

import logging

from tusd_py.logs import log_event
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import read_metadata

log = logging.getLogger("tusd_py.uploads")

_ENDED = {
    Status.REJECTED: "upload rejected",
    Status.FAILED: "upload failed",
    Status.EXPIRED: "upload expired",
    Status.TERMINATED: "upload terminated",
}
_NAME_CHARACTERS_MAX = 200


def log_creation(upload: Upload, client: str, request_id: str = "") -> None:
    """Log a new upload, and its completion if it came with all of its bytes.

    ``request_id`` is that of a request without a task, which has no context of its own.
    """
    if log.isEnabledFor(logging.INFO):
        _log("upload created", upload, client, request_id)
        if upload.is_complete:
            _log("upload finished", upload, client, request_id)


def log_change(before: Upload, after: Upload, client: str, request_id: str = "") -> None:
    """Log that an upload was completed or has ended; nothing for any other change. ``request_id`` is as above."""
    if before.status is after.status and before.completed_at is after.completed_at:
        return
    if log.isEnabledFor(logging.INFO):
        if after.is_complete and not before.is_complete:
            _log("upload finished", after, client, request_id)
        if after.status in _ENDED and before.status is not after.status:
            _log(_ENDED[after.status], after, client, request_id)


def _log(message: str, upload: Upload, client: str, request_id: str = "") -> None:
    log_event(log, message, _values, upload, client, request_id)


def _values(upload: Upload, client: str, request_id: str) -> dict[str, object]:
    """The values of a line."""
    values: dict[str, object] = {"upload": upload.id, "length": upload.length}
    if upload.offset != upload.length:
        values["offset"] = upload.offset
    if upload.owner:
        values["owner"] = upload.owner
    if client:
        values["client"] = client
    if name := _name(upload):
        values["file_name"] = name
    if upload.history and upload.history[-1].reason:
        values["reason"] = upload.history[-1].reason
    if request_id:
        values["request_id"] = request_id
    return values


def client_of(caller: Caller | None) -> str:
    """The address of the client; where it is unknown that of the peer, without its port; empty without a request."""
    if caller is None:
        return ""
    return caller.client or caller.remote_address.rpartition(":")[0].strip("[]")


def _name(upload: Upload) -> str:
    """The name that the client gave the file. The log escapes control characters and bidirectional overrides."""
    if not upload.metadata_header:
        return ""
    try:
        metadata = read_metadata(upload.metadata_header)
    except InvalidMetadata:
        return ""  # an earlier version has accepted it
    name = metadata.get("filename") or metadata.get("name") or b""
    return name.decode("utf-8", "replace")[:_NAME_CHARACTERS_MAX]
