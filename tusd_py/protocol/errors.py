"""The errors of the protocol: one class each, with status, code (tusd's where tusd has one) and details as fields.

The message is built from the fields and says what to do. Errors of the disk, the database, locks and hooks are defined
beside their contracts; ``tusd_py.web.errors`` maps them to responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride


class TusError(Exception):
    """A request that the server refuses.

    ``upload`` is the upload whose offset the response must include, if any. ``override`` is the response that a hook
    requested instead.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "ERR_BAD_REQUEST"
    sentence: ClassVar[str] = "this request cannot be served"  # a format string over the fields
    retry_after_seconds: int | None = None  # Retry-After, if retrying soon helps
    upload: Upload | None = None
    override: ResponseOverride | None = None

    def with_upload(self, upload: Upload) -> Self:
        """This error with ``upload`` set; returns itself, so that it can be raised directly."""
        self.upload = upload
        return self

    def with_response(self, override: ResponseOverride | None) -> Self:
        """This error with the response that the refusing hook requested; returns itself."""
        self.override = override
        return self

    @property
    def members(self) -> Mapping[str, object]:
        """What the message says, for programs: members of a problem document (RFC 9457)."""
        return {}

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
        return "this protocol version is not supported; send Tus-Resumable: 1.0.0"


@dataclass(eq=False)
class MethodNotAllowed(TusError):
    status = 405
    code = "ERR_METHOD_NOT_ALLOWED"

    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return f"this URL accepts {', '.join(self.allowed)}"


@dataclass(eq=False)
class MalformedHeader(TusError):
    """A header whose value does not match its grammar, or that came more than once."""

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
        return f"this checksum algorithm is not supported; use one of {', '.join(self.supported)}"


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
    sentence = "bodies are stored unchanged; send them without Content-Encoding"


class UnsupportedTransferEncoding(TusError):
    status = 501
    code = "ERR_UNSUPPORTED_TRANSFER_ENCODING"
    sentence = "only Transfer-Encoding: chunked is supported"


@dataclass(eq=False)
class ExtensionDisabled(TusError):
    """A request that needs an extension that is disabled on this server."""

    status = 501
    code = "ERR_NOT_IMPLEMENTED"
    sentence = "the extension {extension} is disabled on this server"

    extension: str


# The upload


class UploadNotFound(TusError):
    status = 404
    code = "ERR_UPLOAD_NOT_FOUND"
    sentence = "there is no upload at this URL; create one with POST"


class UploadGone(TusError):
    status = 410
    code = "ERR_UPLOAD_GONE"
    sentence = "this upload has expired or could not be finished; create a new one with POST"


class ContentGone(UploadGone):
    code = "ERR_CONTENT_GONE"
    sentence = "this upload is complete, but its content is no longer on this server"


@dataclass(eq=False)
class OffsetMismatch(TusError):
    status = 409
    code = "ERR_MISMATCHED_OFFSET"
    sentence = "the offset of the upload is {expected}, not {received}; continue from there"

    expected: int
    received: int


@dataclass(eq=False)
class LengthExceeded(TusError):
    """More bytes than the length of the upload."""

    status = 413
    code = "ERR_UPLOAD_SIZE_EXCEEDED"
    sentence = "the length of the upload is {length} bytes; the body exceeds it"

    length: int


@dataclass(eq=False)
class MaxSizeExceeded(TusError):
    status = 413
    code = "ERR_MAX_SIZE_EXCEEDED"
    sentence = "uploads on this server are limited to {length_max} bytes"

    length_max: int


@dataclass(eq=False)
class AppendTooLarge(TusError):
    """A request of the draft with more content than the server allows in one request."""

    status = 413
    code = "ERR_APPEND_TOO_LARGE"
    sentence = "one request may have at most {bytes_max} bytes of content; send the rest in further requests"

    bytes_max: int


@dataclass(eq=False)
class AppendTooSmall(TusError):
    """A request of the draft, not the last one of its upload, with less content than the server requires."""

    code = "ERR_APPEND_TOO_SMALL"
    sentence = "a request that does not complete the upload must have at least {bytes_min} bytes of content"

    bytes_min: int


@dataclass(eq=False)
class LengthAlreadyKnown(TusError):
    """A PATCH that declares a length other than the known one, or one below the bytes already stored."""

    code = "ERR_INVALID_UPLOAD_LENGTH"

    length: int | None
    offset: int

    def __str__(self) -> str:
        if self.length is not None:
            return f"the length of this upload is {self.length} bytes and cannot change"
        return f"the upload already has {self.offset} bytes; its length cannot be less"


class InconsistentLength(TusError):
    """Two different lengths of one upload: in two headers, or in a header and by the end of the last body."""

    code = "ERR_INVALID_UPLOAD_LENGTH"
    sentence = "this request declares two different lengths of the upload"


class TooManyEmptyUploads(TusError):
    """The client has as many unfinished uploads without a byte as the server allows."""

    status = 503
    code = "ERR_TOO_MANY_EMPTY_UPLOADS"
    sentence = "too many uploads of this client have received no byte yet; send their bytes or terminate them first"
    retry_after_seconds = 30


class TooManyEmptySessions(TooManyEmptyUploads):
    """The client has as many sessions without a chunk as the server allows."""

    sentence = "too many sessions of this client have no chunk yet; put their chunks or delete them first"


class UploadUnfinished(TusError):
    status = 404
    code = "ERR_INCOMPLETE_UPLOAD"
    sentence = "this upload cannot be downloaded before it is complete"


class UploadNotValidated(TusError):
    # 409 because clients retry it.
    status = 409
    code = "ERR_UPLOAD_NOT_VALIDATED"
    retry_after_seconds = 5
    sentence = "this upload has not been validated yet; try again shortly"


class RejectedByRules(TusError):
    """A complete upload that validation rejected.

    The reasons are in the upload's history and events, not here: anyone who knows the URL can read this message.
    """

    status = 403
    code = "ERR_UPLOAD_NOT_ALLOWED"
    sentence = "validation rejected this upload; it can only be terminated"


@dataclass(eq=False)
class RangeNotSatisfiable(TusError):
    status = 416
    code = "ERR_RANGE_NOT_SATISFIABLE"
    sentence = "request a range within {length} bytes"

    length: int


class PreconditionFailed(TusError):
    status = 412
    code = "ERR_PRECONDITION_FAILED"
    sentence = "the upload does not meet the condition of If-Match or If-Unmodified-Since"


# The body


class ChecksumMismatch(TusError):
    status = 460
    code = "ERR_CHECKSUM_MISMATCH"
    sentence = "the received bytes do not match the checksum and were discarded; send them again"


class BodyIncomplete(TusError):
    """The body ended, or the connection broke, before the Content-Length; few clients can still read this."""

    code = "ERR_UNEXPECTED_EOF"
    sentence = "the body ended early; the received bytes were kept, continue from Upload-Offset"


class ReadTimeout(TusError):
    # 503, not 408: clients retry after a 5xx and give up after most 4xx.
    status = 503
    code = "ERR_READ_TIMEOUT"
    sentence = "the body stalled; the received bytes were kept, continue from the upload's offset"
    retry_after_seconds = 1


class UploadInterrupted(TusError):
    """Another request for the same upload took over.

    A 4xx that clients do not retry: two clients that retried would interrupt each other endlessly.
    """

    code = "ERR_UPLOAD_INTERRUPTED"
    sentence = "another request for this upload took over; the bytes received before were kept"


class LockLost(UploadInterrupted):
    """This server cannot say any more that no other request writes to the upload: it has lost what keeps its locks.

    No other request is known to wait, so the client is to continue, at another server or at this one.
    """

    status = 503
    code = "ERR_LOCK_LOST"
    sentence = "the server has lost its lock of this upload; send HEAD for its offset and continue from there"
    retry_after_seconds = 1


class ServerShutdown(TusError):
    status = 503
    code = "ERR_SERVER_SHUTDOWN"
    sentence = "the server is shutting down; the received bytes were kept, try again shortly"
    retry_after_seconds = 1


@dataclass(eq=False)
class TypeNotAllowed(TusError):
    """The first bytes of the upload have a type that the rules do not allow. Every later PATCH is refused the same."""

    status = 415
    code = "ERR_TYPE_NOT_ALLOWED"
    sentence = "this upload is not accepted: {reason}"

    reason: str


# Decisions of hooks and of the access policy


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
