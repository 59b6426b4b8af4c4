"""The errors of concatenation: final uploads and the partial uploads that they consist of."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.protocol.errors import TusError


class FinalUploadModified(TusError):
    status = 403
    code = "ERR_MODIFY_FINAL"
    sentence = "a final upload consists of its partial uploads and accepts no bytes of its own"


class InvalidParts(TusError):
    """The same message for every fault of a part, because the response must not reveal which uploads exist."""

    code = "ERR_INVALID_CONCAT"
    sentence = "Upload-Concat: every URL must be the URL of a partial upload on this server"


@dataclass(eq=False)
class TooManyParts(TusError):
    """More partial uploads in one final upload than the server allows."""

    status = 413
    code = "ERR_TOO_MANY_PARTS"
    sentence = "a final upload may consist of at most {parts_max} partial uploads on this server"

    parts_max: int


@dataclass(eq=False)
class PartUsedTooOften(TusError):
    """A partial upload that final uploads would use more often than the server allows."""

    status = 413
    code = "ERR_PART_USED_TOO_OFTEN"
    sentence = "final uploads may use one partial upload at most {part_uses_max} times on this server"

    part_uses_max: int


class TooManyConcatenations(TusError):
    """The client has as many concatenations running and waiting as the server allows."""

    # 503 because clients retry it.
    status = 503
    code = "ERR_TOO_MANY_CONCATENATIONS"
    sentence = "too many final uploads of this client are being concatenated; try again shortly"
    retry_after_seconds = 5


class PartInUse(TusError):
    status = 409
    code = "ERR_PARTIAL_UPLOAD_IN_USE"
    sentence = "an unfinished final upload needs this partial upload; terminate the final upload first"


class UploadNotAssembled(TusError):
    """A final upload whose parts are complete and are being concatenated."""

    # 409 because clients retry it.
    status = 409
    code = "ERR_UPLOAD_NOT_ASSEMBLED"
    retry_after_seconds = 5
    sentence = "the parts of this upload are still being concatenated; try again shortly"
