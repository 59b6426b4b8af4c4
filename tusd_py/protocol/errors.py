"""Every refusal the protocol knows: a class each, with its status, tusd's code for it, and the facts as fields.

The sentence a person reads is made from the facts, and says what to do. What the world around the protocol does
wrong (disk, database, locks, hooks) is not here but beside its contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride


class TusError(Exception):
    """A request that is refused. ``upload`` is set where the answer shall tell how the upload stands.

    ``overlay`` is what a hook that refused wants the client to be told instead.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "ERR_BAD_REQUEST"
    sentence: ClassVar[str] = "this request cannot be served"  # with the facts by name, in braces
    retry_after_seconds: ClassVar[int | None] = None  # Retry-After, where trying again soon helps
    upload: Upload | None = None
    override: ResponseOverride | None = None

    def with_upload(self, upload: Upload) -> Self:
        """This refusal, telling how ``upload`` stands."""
        self.upload = upload
        return self

    def with_response(self, override: ResponseOverride | None) -> Self:
        """This refusal, answered as the hook that refused wants it answered."""
        self.override = override
        return self

    def __str__(self) -> str:
        return self.sentence.format_map(vars(self))


# The head of a request


@dataclass(eq=False)
class UnsupportedVersion(TusError):
    status = 412
    code = "ERR_UNSUPPORTED_VERSION"

    received: str | None

    def __str__(self) -> str:
        if self.received is None:
            return "the Tus-Resumable header is missing; send Tus-Resumable: 1.0.0"
        return "this version of the protocol is not spoken here; send Tus-Resumable: 1.0.0"


@dataclass(eq=False)
class MethodNotAllowed(TusError):
    status = 405
    code = "ERR_METHOD_NOT_ALLOWED"

    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return f"this URL takes {', '.join(self.allowed)}"


@dataclass(eq=False)
class MalformedHeader(TusError):
    """A header whose value is not what its grammar allows, or which came twice."""

    code = "ERR_INVALID_HEADER"
    sentence = "{header}: expected {expected}"

    header: str
    expected: str


class InvalidLength(MalformedHeader):
    code = "ERR_INVALID_UPLOAD_LENGTH"


class InvalidDeferLength(MalformedHeader):
    code = "ERR_INVALID_UPLOAD_LENGTH_DEFER"


class AmbiguousLength(TusError):
    code = "ERR_AMBIGUOUS_UPLOAD_LENGTH"
    sentence = "send either Upload-Length or Upload-Defer-Length: 1, not both"


class InvalidOffset(MalformedHeader):
    code = "ERR_INVALID_OFFSET"


class InvalidMetadata(MalformedHeader):
    code = "ERR_INVALID_METADATA"


class InvalidConcat(MalformedHeader):
    code = "ERR_INVALID_CONCAT"


class InvalidChecksum(MalformedHeader):
    code = "ERR_INVALID_CHECKSUM"


@dataclass(eq=False)
class UnsupportedAlgorithm(TusError):
    code = "ERR_UNSUPPORTED_CHECKSUM_ALGORITHM"

    supported: tuple[str, ...]

    def __str__(self) -> str:
        return f"this checksum algorithm is not known here; use one of {', '.join(self.supported)}"


@dataclass(eq=False)
class HeaderTooLarge(TusError):
    status = 431
    code = "ERR_HEADER_TOO_LARGE"
    sentence = "{header} may have at most {bytes_max} bytes"

    header: str
    bytes_max: int


class UnsupportedContentType(TusError):
    status = 415
    code = "ERR_INVALID_CONTENT_TYPE"
    sentence = "send the bytes as Content-Type: application/offset+octet-stream"


class UnsupportedContentEncoding(TusError):
    status = 415
    code = "ERR_INVALID_CONTENT_ENCODING"
    sentence = "bodies are stored as they come; send them without Content-Encoding"


class UnsupportedTransferEncoding(TusError):
    status = 501
    code = "ERR_UNSUPPORTED_TRANSFER_ENCODING"
    sentence = "only Transfer-Encoding: chunked is understood"


@dataclass(eq=False)
class ExtensionDisabled(TusError):
    """A request that needs an extension which this server has switched off."""

    status = 501
    code = "ERR_NOT_IMPLEMENTED"
    sentence = "the extension {extension} is switched off on this server"

    extension: str


# The upload it is about


class UploadNotFound(TusError):
    status = 404
    code = "ERR_UPLOAD_NOT_FOUND"
    sentence = "there is no upload at this URL; create one with POST"


class UploadGone(TusError):
    status = 410
    code = "ERR_UPLOAD_GONE"
    sentence = "this upload has expired or could not be finished; create a new one with POST"


@dataclass(eq=False)
class OffsetMismatch(TusError):
    status = 409
    code = "ERR_MISMATCHED_OFFSET"
    sentence = "the upload stands at offset {expected}, not {received}; go on from there"

    expected: int
    received: int


@dataclass(eq=False)
class LengthExceeded(TusError):
    """More bytes than the upload has room for."""

    status = 413
    code = "ERR_UPLOAD_SIZE_EXCEEDED"
    sentence = "the upload ends at {length} bytes; the body goes beyond it"

    length: int


@dataclass(eq=False)
class MaxSizeExceeded(TusError):
    status = 413
    code = "ERR_MAX_SIZE_EXCEEDED"
    sentence = "an upload may have at most {length_max} bytes here"

    length_max: int


@dataclass(eq=False)
class LengthAlreadyKnown(TusError):
    """A PATCH that declares another length than the upload already has, or one that its bytes already exceed."""

    code = "ERR_INVALID_UPLOAD_LENGTH"

    length: int | None
    offset: int

    def __str__(self) -> str:
        if self.length is not None:
            return f"the length of this upload is {self.length} bytes and never changes"
        return f"the upload already has {self.offset} bytes; its length cannot be less"


class InconsistentLength(TusError):
    """Two statements of one upload's length that differ: headers, or a header and where the last body ends."""

    code = "ERR_INVALID_UPLOAD_LENGTH"
    sentence = "this request tells two lengths of the upload that differ"


class FinalUploadModified(TusError):
    status = 403
    code = "ERR_MODIFY_FINAL"
    sentence = "a final upload is made of its partial uploads and takes no bytes of its own"


class InvalidParts(TusError):
    """One message whatever is wrong with a part: an answer must not tell which uploads exist."""

    code = "ERR_INVALID_CONCAT"
    sentence = "Upload-Concat: every URL must be that of a partial upload on this server"


@dataclass(eq=False)
class TooManyParts(TusError):
    """More partial uploads in one final upload than the operator allows."""

    status = 413
    code = "ERR_TOO_MANY_PARTS"
    sentence = "a final upload may be made of at most {parts_max} partial uploads here"

    parts_max: int


class PartInUse(TusError):
    status = 409
    code = "ERR_PARTIAL_UPLOAD_IN_USE"
    sentence = "a final upload that is not finished needs this partial upload; terminate the final upload first"


class UploadUnfinished(TusError):
    status = 404
    code = "ERR_INCOMPLETE_UPLOAD"
    sentence = "this upload cannot be downloaded before it is complete"


class UploadNotValidated(TusError):
    # 409, which clients try again.
    status = 409
    code = "ERR_UPLOAD_UNEXAMINED"
    retry_after_seconds = 5
    sentence = "this upload has not been examined yet; try again shortly"


class RejectedByRules(TusError):
    """A complete upload that was examined. Why it was rejected is told to its owner by status and events, not here:
    whoever has the URL may ask."""

    status = 403
    code = "ERR_UPLOAD_NOT_ALLOWED"
    sentence = "this upload was examined and rejected; it can be terminated, and nothing else"


@dataclass(eq=False)
class RangeNotSatisfiable(TusError):
    status = 416
    code = "ERR_RANGE_NOT_SATISFIABLE"
    sentence = "ask for a range within {length} bytes"

    length: int


class PreconditionFailed(TusError):
    status = 412
    code = "ERR_PRECONDITION_FAILED"
    sentence = "the upload is not the one that If-Match or If-Unmodified-Since names"


# What happened to its body


class ChecksumMismatch(TusError):
    status = 460
    code = "ERR_CHECKSUM_MISMATCH"
    sentence = "the bytes received do not have this checksum; none of them was kept, send them again"


class BodyIncomplete(TusError):
    """The body ended, or the connection broke, before the Content-Length: seldom read by anybody."""

    code = "ERR_UNEXPECTED_EOF"
    sentence = "the body ended early; what came was kept, go on from Upload-Offset"


class ReadTimeout(TusError):
    # 503, not 408: clients try again after a 5xx and give up after most 4xx.
    status = 503
    code = "ERR_READ_TIMEOUT"
    sentence = "nothing came for too long; what came was kept, go on from the upload's offset"
    retry_after_seconds = 1


class UploadInterrupted(TusError):
    """Another request for the same upload took over. A 4xx that clients do not try again: two would fight for ever."""

    code = "ERR_UPLOAD_INTERRUPTED"
    sentence = "another request for this upload took over; what came before was kept"


class ServerShutdown(TusError):
    status = 503
    code = "ERR_SERVER_SHUTDOWN"
    sentence = "the server is shutting down; what came was kept, try again shortly"
    retry_after_seconds = 1


@dataclass(eq=False)
class TypeNotAllowed(TusError):
    """The first bytes of the upload tell that it is of a type which is not wanted: the upload has been ended."""

    status = 415
    code = "ERR_TYPE_NOT_ALLOWED"
    sentence = "this upload is not accepted, and has been ended: {reason}"

    reason: str


# What a hook decided


class AccessDenied(TusError):
    status = 403
    code = "ERR_ACCESS_DENIED"
    sentence = "this request is not allowed"


class UploadRejected(TusError):
    code = "ERR_UPLOAD_REJECTED"
    sentence = "upload creation has been rejected by server"


class UploadStopped(TusError):
    code = "ERR_UPLOAD_STOPPED"
    sentence = "upload has been stopped by server"


class TerminationRejected(TusError):
    code = "ERR_UPLOAD_TERMINATION_REJECTED"
    sentence = "upload termination has been rejected by server"
