"""Parse the head of a request of the draft into the same request values as tus 1.0.

Nothing here knows which uploads exist, so these errors reveal nothing about uploads.
"""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.protocol.draft.digests import parse_digest
from tusd_py.protocol.draft.representation import MEDIA_TYPE, parse_description
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX, parse_boolean, parse_integer
from tusd_py.protocol.draft.versions import CREATING_METHODS, Version
from tusd_py.protocol.errors import (
    ExtensionDisabled,
    InconsistentLength,
    InvalidLength,
    InvalidOffset,
    MalformedHeader,
    MethodNotAllowed,
    TusError,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UploadNotFound,
)
from tusd_py.protocol.headers import Headers, parse_body_length, parse_media_type
from tusd_py.protocol.parsing import effective_method, is_encoded, refuse_content_range, upload_id_in
from tusd_py.protocol.requests import Append, BodyInfo, Create, Discover, Head, Inspect, Request, Terminate
from tusd_py.protocol.rules import Limits

_AN_INTEGER = f"a whole number from 0 to {INTEGER_MAX}"


class UnsupportedPatch(UnsupportedContentType):
    """RFC 5789, 2.2: "Unsupported patch document: ... 415 (Unsupported Media Type)"."""

    sentence = f"send the bytes as Content-Type: {MEDIA_TYPE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftParser:
    """Parses requests of one version of the draft."""

    limits: Limits
    version: Version

    def parse(self, head: Head, base_path: str | None = None) -> Request:
        """The request that ``head`` makes. Raises ``TusError`` and nothing else, whatever ``head`` contains."""
        method = effective_method(head)
        upload_id = upload_id_in(head.path)
        if method == "OPTIONS":
            return Discover(upload_id=upload_id or None)
        headers = head.headers
        headers.one(b"host")
        if upload_id is None:
            raise UploadNotFound
        if not upload_id:
            if method not in CREATING_METHODS:
                raise MethodNotAllowed((*CREATING_METHODS, "OPTIONS"))
            return self._create(headers)
        if method not in self._upload_methods():
            raise MethodNotAllowed((*self._upload_methods(), "OPTIONS"))
        if method == "PATCH":
            return self._append(headers, upload_id)
        if self.version.is_strict:
            self._refuse_state(headers)
        if method == "DELETE":
            return Terminate(upload_id=upload_id)
        return Inspect(upload_id=upload_id, length_completes=self.version.length_completes)

    def _upload_methods(self) -> tuple[str, ...]:
        get = ("GET",) if self.version.get_returns_offset else ()
        delete = ("DELETE",) if self.limits.termination else ()
        return ("HEAD", *get, "PATCH", *delete)

    def _create(self, headers: Headers) -> Create:
        is_last = self._is_last(headers)
        if is_last is None:
            raise self._missing_completeness()
        refuse_content_range(headers)
        if is_encoded(headers):
            raise UnsupportedContentEncoding
        body_length = parse_body_length(headers)
        length = _length(headers, body_length if is_last else None)
        if length is not None and body_length is not None and body_length > length:
            # Before an upload is created that could never be finished.
            raise InconsistentLength
        metadata_header = parse_description(headers, self.limits.metadata_bytes_max)
        body = self._creation_body(headers, body_length, is_last=is_last)
        return Create(length=length, metadata_header=metadata_header, body=body, is_last=self._effective(is_last))

    def _creation_body(self, headers: Headers, length: int | None, *, is_last: bool) -> BodyInfo | None:
        bounds = self._bounds(is_last) if length != 0 and self.version.limits_creations else None
        body = _body(headers, length, bounds, is_whole=is_last, creates=True)
        if length == 0 and body.checksum is None:
            return None
        if not self.limits.creation_with_upload:
            raise ExtensionDisabled("creation-with-upload")
        return body

    def _append(self, headers: Headers, upload_id: str) -> Append:
        offset = _integer(headers, b"upload-offset")
        if offset is None:
            raise InvalidOffset("Upload-Offset", _AN_INTEGER)
        is_last = self._is_last(headers)
        if is_last is None and self.version.requires_completeness:
            raise self._missing_completeness()
        if is_last is None and self.version.inverts_completeness:
            # -01: an upload is complete with a request whose "Upload-Incomplete header being omitted or set to false".
            is_last = True
        refuse_content_range(headers)
        body_length = parse_body_length(headers)
        end = offset + body_length if is_last and body_length is not None else None
        return Append(
            upload_id=upload_id,
            offset=offset,
            length=_length(headers, end),
            body=_body(headers, body_length, self._bounds(is_last)),
            unsupported=self._unsupported(headers),
            is_last=self._effective(is_last),
        )

    def _bounds(self, is_last: bool | None) -> tuple[int, int | None] | None:
        """How many bytes a request may have. Upload-Limit, min-append-size: "does not apply to ... completing"."""
        limits = self.limits
        if self.version.lifetime_key is None or not (limits.append_bytes_max or limits.append_bytes_min):
            return None
        return 0 if is_last else limits.append_bytes_min, limits.append_bytes_max or None

    def _effective(self, is_last: bool | None) -> bool | None:
        """The flag to obey: in versions where the length completes an upload, ``False`` has no effect."""
        return None if is_last is False and self.version.length_completes else is_last

    def _is_last(self, headers: Headers) -> bool | None:
        """Completeness: "Its value is a Boolean ... Other values MUST cause the entire header field to be ignored"."""
        if self.version.inverts_completeness:
            incomplete = parse_boolean(headers.get(b"upload-incomplete") or "")
            return None if incomplete is None else not incomplete
        return parse_boolean(headers.get(b"upload-complete") or "")

    def _missing_completeness(self) -> TusError:
        name = "Upload-Incomplete" if self.version.inverts_completeness else "Upload-Complete"
        return MalformedHeader(name, "?0 or ?1")

    def _unsupported(self, headers: Headers) -> TusError | None:
        if self.version.has_media_type and parse_media_type(headers.one(b"content-type") or "") != MEDIA_TYPE:
            return UnsupportedPatch()
        return UnsupportedContentEncoding() if is_encoded(headers) else None

    def _refuse_state(self, headers: Headers) -> None:
        """-05, Offset Retrieval: "The server MUST reject requests with either of these fields"; likewise for DELETE."""
        for name in ("Upload-Offset", "Upload-Complete", "Upload-Incomplete"):
            if name.lower().encode("ascii") in headers:
                raise MalformedHeader(name, "no such header in this request")


def _integer(headers: Headers, name: bytes) -> int | None:
    """Offset, Length: "a non-negative Integer ... Other values MUST cause the entire header field to be ignored"."""
    value = parse_integer(headers.get(name) or "")
    return None if value is None or value < 0 else value


def _length(headers: Headers, end: int | None) -> int | None:
    """The length of the upload, by Upload-Length or by the end of the last body.

    Upload Length: "their indicated lengths MUST match".
    """
    length = _integer(headers, b"upload-length")
    if end is not None and end > INTEGER_MAX:
        raise InvalidLength("Content-Length", f"an end of the upload of at most {INTEGER_MAX} bytes")
    if length is not None and end is not None and length != end:
        raise InconsistentLength
    return end if length is None else length


def _body(
    headers: Headers,
    length: int | None,
    bounds: tuple[int, int | None] | None,
    *,
    is_whole: bool = False,
    creates: bool = False,
) -> BodyInfo:
    """The body with its digest: its own, or that of the whole upload if the body is the whole upload."""
    checksum = parse_digest("Content-Digest", headers.get(b"content-digest"))
    if checksum is None and is_whole:
        checksum = parse_digest("Repr-Digest", headers.get(b"repr-digest"))
    if checksum is None:
        return BodyInfo(length=length, bounds=bounds)
    # Upload Creation: "the server SHOULD append as much of the request content as possible". This holds for an aborted
    # body too, whose digest cannot be compared: "Once the request is complete, the server can compute the integrity
    # digest".
    return BodyInfo(length=length, checksum=checksum, keep_partial=True, discard_on_mismatch=creates, bounds=bounds)
