"""What a client can ask, as frozen values. Every dialect's parser makes these; the use cases read nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of an HTTP request as an ASGI server hands it over.

    ``path`` is what follows the base path, percent-decoded, without query: ``""`` or ``"/"`` is the collection.
    ``method`` is the real one; header names are lower-case bytes, values as received, duplicates kept.
    """

    method: str
    path: str
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyInfo:
    """What the head says of a body whose bytes shall be stored."""

    length: int | None  # Content-Length in bytes; None when chunked
    checksum: Checksum | None = None  # Upload-Checksum: the body counts only if its digest is this
    checksum_in_trailer: bool = False  # it will come in a declared trailer
    keep_partial: bool = False  # what came of a body with a checksum is kept if it is cut: nobody can say it is wrong
    discard_on_mismatch: bool = (
        False  # wrong bytes leave no upload: these may be recorded before they are known to be right
    )

    @property
    def is_verified(self) -> bool:
        """Whether the bytes count only once their checksum is known to be right."""
        return self.checksum is not None or self.checksum_in_trailer


@dataclass(frozen=True, slots=True, kw_only=True)
class Discover:
    """OPTIONS: what can this server do? ``upload_id`` is None on the collection."""

    upload_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """POST on the collection: make an upload, perhaps with its first bytes.

    ``length`` is None when deferred, or for a final upload (whose ``parts`` are given instead).
    ``body`` is None where no bytes shall be stored, whatever the request carries. With ``completes`` the length alone
    decides nothing: True and the body ends elsewhere is refused, False and the upload stays open at its length.
    """

    length: int | None
    kind: Kind = Kind.REGULAR
    metadata_header: str | None = None  # as received; None when absent or empty
    concat_header: str | None = None  # as received
    parts: tuple[str, ...] = ()  # upload ids, in order, maybe repeated
    body: BodyInfo | None = None
    is_last: bool | None = None  # the body's end is the upload's end; None: where the length says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """HEAD: how far has it come?

    With ``length_completes`` who asks takes an upload that stands at its length for complete, and will not come back.
    """

    upload_id: str
    length_completes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """PATCH: store these bytes from ``offset`` on; ``length`` declares a deferred length.

    ``unsupported`` refuses the body for its type or encoding, but only where nothing about the upload comes before it:
    a final upload is 403 whatever is sent, an unknown one 404. ``completes`` is as in ``Create``.
    """

    upload_id: str
    offset: int
    length: int | None
    body: BodyInfo
    unsupported: TusError | None = None
    is_last: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """DELETE: remove it and what it holds."""

    upload_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """GET: give the bytes back. Header values are as received, None when absent."""

    upload_id: str
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


Request = Discover | Create | Inspect | Append | Terminate | Download
