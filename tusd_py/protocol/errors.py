"""Every refusal the protocol knows: a class each, with its status, tusd's code for it, and the facts as fields.

The sentence a person reads is made from the facts, and says what to do. What the world around the protocol does
wrong (disk, database, locks, hooks) is not here but beside its contract.
"""

from __future__ import annotations

from typing import ClassVar

from tusd_py.protocol.outcomes import Overlay
from tusd_py.protocol.upload import Upload


class TusError(Exception):
    """A request that is refused. ``upload`` is set where the answer shall tell how the upload stands.

    ``overlay`` is what a hook that refused wants the client to be told instead.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "ERR_BAD_REQUEST"
    retry_after_seconds: ClassVar[int | None] = None  # Retry-After, where trying again soon helps
    upload: Upload | None = None
    overlay: Overlay | None = None

    def of(self, upload: Upload) -> TusError:
        """This refusal, telling how ``upload`` stands."""
        self.upload = upload
        return self


# The head of a request


class UnsupportedVersion(TusError):
    status = 412
    code = "ERR_UNSUPPORTED_VERSION"

    def __init__(self, received: str | None) -> None:
        self.received = received

    def __str__(self) -> str:
        if self.received is None:
            return "the Tus-Resumable header is missing; send Tus-Resumable: 1.0.0"
        return "this version of the protocol is not spoken here; send Tus-Resumable: 1.0.0"


class MethodNotAllowed(TusError):
    status = 405
    code = "ERR_METHOD_NOT_ALLOWED"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed

    def __str__(self) -> str:
        return f"this URL takes {', '.join(self.allowed)}"


class MalformedHeader(TusError):
    """A header whose value is not what its grammar allows, or which came twice."""

    code = "ERR_INVALID_HEADER"

    def __init__(self, header: str, expected: str) -> None:
        self.header = header
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.header}: expected {self.expected}"


class InvalidLength(MalformedHeader):
    code = "ERR_INVALID_UPLOAD_LENGTH"


class InvalidDeferLength(MalformedHeader):
    code = "ERR_INVALID_UPLOAD_LENGTH_DEFER"


class AmbiguousLength(TusError):
    code = "ERR_AMBIGUOUS_UPLOAD_LENGTH"

    def __str__(self) -> str:
        return "send either Upload-Length or Upload-Defer-Length: 1, not both"


class InvalidOffset(MalformedHeader):
    code = "ERR_INVALID_OFFSET"


class InvalidMetadata(MalformedHeader):
    code = "ERR_INVALID_METADATA"


class InvalidConcat(MalformedHeader):
    code = "ERR_INVALID_CONCAT"


class InvalidChecksum(MalformedHeader):
    code = "ERR_INVALID_CHECKSUM"


class UnsupportedAlgorithm(TusError):
    code = "ERR_UNSUPPORTED_CHECKSUM_ALGORITHM"

    def __init__(self, supported: tuple[str, ...]) -> None:
        self.supported = supported

    def __str__(self) -> str:
        return f"this checksum algorithm is not known here; use one of {', '.join(self.supported)}"


class HeaderTooLarge(TusError):
    status = 431
    code = "ERR_HEADER_TOO_LARGE"

    def __init__(self, header: str, bytes_max: int) -> None:
        self.header = header
        self.bytes_max = bytes_max

    def __str__(self) -> str:
        return f"{self.header} may have at most {self.bytes_max} bytes"


class UnsupportedContentType(TusError):
    status = 415
    code = "ERR_INVALID_CONTENT_TYPE"

    def __str__(self) -> str:
        return "send the bytes as Content-Type: application/offset+octet-stream"


class UnsupportedContentEncoding(TusError):
    status = 415
    code = "ERR_INVALID_CONTENT_ENCODING"

    def __str__(self) -> str:
        return "bodies are stored as they come; send them without Content-Encoding"


class UnsupportedTransferEncoding(TusError):
    status = 501
    code = "ERR_UNSUPPORTED_TRANSFER_ENCODING"

    def __str__(self) -> str:
        return "only Transfer-Encoding: chunked is understood"


class ExtensionDisabled(TusError):
    """A request that needs an extension which this server has switched off."""

    status = 501
    code = "ERR_NOT_IMPLEMENTED"

    def __init__(self, extension: str) -> None:
        self.extension = extension

    def __str__(self) -> str:
        return f"the extension {self.extension} is switched off on this server"


# The upload it is about


class UploadNotFound(TusError):
    status = 404
    code = "ERR_UPLOAD_NOT_FOUND"

    def __str__(self) -> str:
        return "there is no upload at this URL; create one with POST"


class UploadGone(TusError):
    status = 410
    code = "ERR_UPLOAD_GONE"

    def __str__(self) -> str:
        return "this upload has expired or could not be finished; create a new one with POST"


class OffsetMismatch(TusError):
    status = 409
    code = "ERR_MISMATCHED_OFFSET"

    def __init__(self, expected: int, received: int) -> None:
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        return f"the upload stands at offset {self.expected}, not {self.received}; go on from there"


class LengthExceeded(TusError):
    """More bytes than the upload has room for."""

    status = 413
    code = "ERR_UPLOAD_SIZE_EXCEEDED"

    def __init__(self, length: int) -> None:
        self.length = length

    def __str__(self) -> str:
        return f"the upload ends at {self.length} bytes; the body goes beyond it"


class MaxSizeExceeded(TusError):
    status = 413
    code = "ERR_MAX_SIZE_EXCEEDED"

    def __init__(self, length_max: int) -> None:
        self.length_max = length_max

    def __str__(self) -> str:
        return f"an upload may have at most {self.length_max} bytes here"


class LengthAlreadyKnown(TusError):
    """A PATCH that declares another length than the upload already has, or one that its bytes already exceed."""

    code = "ERR_INVALID_UPLOAD_LENGTH"

    def __init__(self, length: int | None, offset: int) -> None:
        self.length = length
        self.offset = offset

    def __str__(self) -> str:
        if self.length is not None:
            return f"the length of this upload is {self.length} bytes and never changes"
        return f"the upload already has {self.offset} bytes; its length cannot be less"


class FinalUploadModified(TusError):
    status = 403
    code = "ERR_MODIFY_FINAL"

    def __str__(self) -> str:
        return "a final upload is made of its partial uploads and takes no bytes of its own"


class InvalidParts(TusError):
    """One message whatever is wrong with a part: an answer must not tell which uploads exist."""

    code = "ERR_INVALID_CONCAT"

    def __str__(self) -> str:
        return "Upload-Concat: every URL must be that of a partial upload on this server"


class TooManyParts(TusError):
    """More partial uploads in one final upload than the operator allows."""

    status = 413
    code = "ERR_TOO_MANY_PARTS"

    def __init__(self, parts_max: int) -> None:
        self.parts_max = parts_max

    def __str__(self) -> str:
        return f"a final upload may be made of at most {self.parts_max} partial uploads here"


class PartsUnfinished(TusError):
    code = "ERR_UPLOAD_NOT_FINISHED"

    def __str__(self) -> str:
        return "finish every partial upload before concatenating them"


class PartInUse(TusError):
    status = 409
    code = "ERR_PARTIAL_UPLOAD_IN_USE"

    def __str__(self) -> str:
        return "a final upload that is not finished needs this partial upload; terminate the final upload first"


class UploadUnfinished(TusError):
    status = 404
    code = "ERR_INCOMPLETE_UPLOAD"

    def __str__(self) -> str:
        return "this upload cannot be downloaded before it is complete"


class RangeNotSatisfiable(TusError):
    status = 416
    code = "ERR_RANGE_NOT_SATISFIABLE"

    def __init__(self, length: int) -> None:
        self.length = length

    def __str__(self) -> str:
        return f"ask for a range within {self.length} bytes"


class PreconditionFailed(TusError):
    status = 412
    code = "ERR_PRECONDITION_FAILED"

    def __str__(self) -> str:
        return "the upload is not the one that If-Match or If-Unmodified-Since names"


# What happened to its body


class ChecksumMismatch(TusError):
    status = 460
    code = "ERR_CHECKSUM_MISMATCH"

    def __str__(self) -> str:
        return "the bytes received do not have this checksum; none of them was kept, send them again"


class BodyIncomplete(TusError):
    """The body ended, or the connection broke, before the Content-Length: seldom read by anybody."""

    code = "ERR_UNEXPECTED_EOF"

    def __str__(self) -> str:
        return "the body ended early; what came was kept, go on from Upload-Offset"


class ReadTimeout(TusError):
    # 503, not 408: clients try again after a 5xx and give up after most 4xx.
    status = 503
    code = "ERR_READ_TIMEOUT"
    retry_after_seconds = 1

    def __str__(self) -> str:
        return "nothing came for too long; what came was kept, go on from the upload's offset"


class UploadInterrupted(TusError):
    """Another request for the same upload took over. A 4xx that clients do not try again: two would fight for ever."""

    code = "ERR_UPLOAD_INTERRUPTED"

    def __str__(self) -> str:
        return "another request for this upload took over; what came before was kept"


class ServerShutdown(TusError):
    status = 503
    code = "ERR_SERVER_SHUTDOWN"
    retry_after_seconds = 1

    def __str__(self) -> str:
        return "the server is shutting down; what came was kept, try again shortly"


# What a hook decided


class UploadRejected(TusError):
    code = "ERR_UPLOAD_REJECTED"

    def __str__(self) -> str:
        return "upload creation has been rejected by server"


class UploadStopped(TusError):
    code = "ERR_UPLOAD_STOPPED"

    def __str__(self) -> str:
        return "upload has been stopped by server"


class TerminationRejected(TusError):
    code = "ERR_UPLOAD_TERMINATION_REJECTED"

    def __str__(self) -> str:
        return "upload termination has been rejected by server"
