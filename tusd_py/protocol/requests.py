"""Requests as frozen values. The parsers of tus 1.0 and the draft both produce these; use cases read nothing else."""

from __future__ import annotations

from tusd_py.model.frozen import frozen
from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers


@frozen(kw_only=True)
class Head:
    """The head of an HTTP request as an ASGI server passes it.

    ``path`` is what follows the base path, percent-decoded, without query: nothing or slashes for the collection.
    ``method`` is the one on the request line, before X-HTTP-Method-Override.
    """

    method: str
    path: str
    headers: Headers


@frozen(kw_only=True)
class BodyInfo:
    """The properties of a body whose bytes are to be stored, from the head of the request."""

    length: int | None  # Content-Length in bytes; None when chunked
    checksum: Checksum | None = None  # the body counts only if it has this digest
    checksum_in_trailer: bool = False  # the checksum follows in a declared trailer
    #: If a body with a checksum is aborted, keep the bytes received: they cannot be verified, but are not known wrong.
    keep_partial: bool = False
    #: On a checksum mismatch, discard the upload. Its bytes may then be recorded before they are verified.
    discard_on_mismatch: bool = False
    #: How many bytes one request may have: at least and at most (None: no limit).
    bounds: tuple[int, int | None] | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the bytes count only after their checksum has been verified."""
        return self.checksum is not None or self.checksum_in_trailer


@frozen(kw_only=True)
class Discover:
    """OPTIONS: the capabilities of the server. ``upload_id`` is None on the collection."""

    upload_id: str | None


@frozen(kw_only=True)
class Create:
    """POST on the collection: create an upload, perhaps with its first bytes.

    ``length`` is None when deferred, and for a final upload (which has ``parts`` instead).
    ``body`` is None if no bytes are to be stored, whatever the request has.
    ``is_last`` is the draft's Upload-Complete. True: the upload ends where this body ends; a different length is an
    error. False: the upload stays unfinished even at its length. None: reaching the length completes the upload.
    """

    length: int | None
    kind: Kind = Kind.REGULAR
    metadata_header: str | None = None  # as received; None when absent or empty
    concat_header: str | None = None  # as received, without credentials in URLs
    parts: tuple[str, ...] = ()  # upload ids, in order; repetitions are allowed
    body: BodyInfo | None = None
    is_last: bool | None = None
    length_max: int | None = None  # of an upload that a link lets its bearer fill, while the length is deferred


@frozen(kw_only=True)
class Inspect:
    """HEAD: the offset of the upload.

    With ``length_completes`` the client considers an upload complete that has reached its length, and sends no further
    request; so the server completes it now.
    """

    upload_id: str
    length_completes: bool = False


@frozen(kw_only=True)
class Append:
    """PATCH: store the body at ``offset``; ``length`` declares a deferred length.

    ``unsupported`` is the error for the type or encoding of the body. It is raised only after the checks of the upload:
    a final upload is 403 and an unknown one 404, whatever the body. ``is_last`` is as in ``Create``.
    """

    upload_id: str
    offset: int
    length: int | None
    body: BodyInfo
    unsupported: TusError | None = None
    is_last: bool | None = None


@frozen(kw_only=True)
class Terminate:
    """DELETE: terminate the upload and delete its bytes."""

    upload_id: str


@frozen(kw_only=True)
class Download:
    """GET: send the bytes. Header values are as received, None when absent."""

    upload_id: str
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


@frozen(kw_only=True)
class Fill:
    """POST on an upload that a link lets its bearer fill: what the client would send to create it."""

    upload_id: str
    creation: Create


Request = Discover | Create | Fill | Inspect | Append | Terminate | Download
