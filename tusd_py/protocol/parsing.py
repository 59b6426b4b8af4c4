"""Parse the head of a tus 1.0 request. Checks come in this order: version, route, grammar of the headers.

Nothing here knows which uploads exist, so these errors reveal nothing about uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tusd_py.model.ids import known_id
from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, parse_checksum
from tusd_py.protocol.concat import CollectionUrl, Concat, parse_concat, without_credentials
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
)
from tusd_py.protocol.errors import (
    AmbiguousLength,
    ExtensionDisabled,
    HeaderTooLarge,
    InvalidChecksum,
    InvalidDeferLength,
    InvalidLength,
    InvalidOffset,
    MalformedHeader,
    MethodNotAllowed,
    TusError,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UnsupportedVersion,
    UploadNotFound,
)
from tusd_py.protocol.headers import A_NUMBER, Headers, parse_body_length, parse_media_type, parse_number
from tusd_py.protocol.metadata import read_metadata
from tusd_py.protocol.requests import (
    Append,
    BodyInfo,
    Create,
    Discover,
    Download,
    Fill,
    Head,
    Inspect,
    Request,
    Terminate,
)
from tusd_py.protocol.rules import Limits

#: The only supported version.
VERSION = "1.0.0"
#: Core: "All PATCH requests MUST use Content-Type: application/offset+octet-stream".
MEDIA_TYPE = "application/offset+octet-stream"

_VERSION = VERSION.encode()
_MEDIA_TYPE = MEDIA_TYPE.encode()
#: A request with one of these is not ordinary: another method or protocol, a checksum, a part, a deferred length.
_UNUSUAL = frozenset(
    {
        b"content-encoding",
        b"content-range",
        b"expect",
        b"trailer",
        b"transfer-encoding",
        b"upload-checksum",
        b"upload-concat",
        b"upload-defer-length",
        b"upload-draft-interop-version",
        b"x-http-method-override",
    }
)
_OVERRIDES = ("HEAD", "PATCH", "DELETE", "POST", "OPTIONS")
_COLLECTION_METHODS = ("POST", "OPTIONS")


def effective_method(head: Head) -> str:
    """The method to obey. Core, X-HTTP-Method-Override: "The actual method of the request MUST be ignored".

    Raises ``MalformedHeader`` or ``MethodNotAllowed``.
    """
    override = head.headers.one(b"x-http-method-override")
    if override is None:
        return head.method
    method = override.upper()
    if method not in _OVERRIDES:
        raise MethodNotAllowed(_OVERRIDES)
    return method


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """Parses tus 1.0 requests.

    ``base_paths`` are the paths of the collection that URLs in Upload-Concat may use, each ending in a slash.
    ``trailers`` says whether the HTTP server passes trailers on, ``fills`` whether POST to an upload may fill it.
    """

    limits: Limits
    base_paths: tuple[str, ...] = ("/files/",)
    hosts: tuple[str, ...] = ()  # hosts that URLs in Upload-Concat may have; empty allows every host
    algorithms: tuple[str, ...] = ALGORITHMS
    trailers: bool = False
    fills: bool = False

    def parse(self, head: Head, base_path: str | None = None) -> Request:
        """The request that ``head`` makes; ``base_path`` is the collection's path as this client sees it, if it varies.

        Raises ``TusError`` and nothing else, whatever ``head`` contains.
        """
        method = effective_method(head)
        if method == "OPTIONS":
            return Discover(upload_id=upload_id_in(head.path) or None)
        headers = head.headers
        _check_version(method, headers)
        upload_id = upload_id_in(head.path)
        if upload_id is None:
            raise UploadNotFound
        if not upload_id:
            if method != "POST":
                raise MethodNotAllowed(_COLLECTION_METHODS)
            headers.refuse_repeats()
            return self._create(headers, self.base_paths if base_path is None else (base_path, *self.base_paths))
        if method == "POST" and self.fills:
            headers.refuse_repeats()
            return self._fill(headers, upload_id)
        if method not in self._upload_methods():
            raise MethodNotAllowed(self._upload_methods())
        headers.refuse_repeats()
        return _PARSERS[method](self, headers, upload_id)

    def parse_plain_creation(self, headers: Headers) -> Create | None:
        """What ``parse`` returns for a POST to the collection with these headers, if it is an ordinary creation.

        ``None`` for every other request. What ``parse`` refuses is ``None`` or the same ``TusError``.
        """
        if headers.has_repeats or headers.has_any(_UNUSUAL) or headers.get_bytes(b"tus-resumable") != _VERSION:
            return None
        length = parse_number(headers.get(b"upload-length") or "")
        if length is None:
            return None
        metadata_header = self._metadata_header(headers)
        body = None
        body_length = 0 if headers.get_bytes(b"content-length") == b"0" else parse_body_length(headers)
        media_type = headers.get_bytes(b"content-type")
        if media_type is not None:
            if media_type != _MEDIA_TYPE or not self.limits.creation_with_upload:
                return None
            body = BodyInfo(length=body_length)
        return Create(length=length, metadata_header=metadata_header, body=body)

    def parse_repeated_creation(self, length: str, metadata_header: str) -> int | None:
        """Check the values of two headers of a creation all of whose others ``parse_plain_creation`` has accepted.

        Returns the length, or ``None`` where ``parse`` has to look at the request. Raises ``TusError`` as it does.
        """
        if len(metadata_header) > self.limits.metadata_bytes_max:
            return None
        read_metadata(metadata_header)
        return parse_number(length)

    def parse_plain_change(self, head: Head) -> Append | Inspect | Terminate | None:
        """What ``parse`` returns for an ordinary HEAD, PATCH or DELETE of an upload; ``None`` for every other request.

        Raises ``TusError`` as ``parse`` does.
        """
        if b"tus-resumable" not in head.headers or head.headers.has_any(_UNUSUAL):
            return None
        request = self.parse(head)
        return request if isinstance(request, Append | Inspect | Terminate) else None

    def _upload_methods(self) -> tuple[str, ...]:
        methods = ["HEAD", "PATCH"]
        if self.limits.termination:
            methods.append("DELETE")
        if self.limits.downloads:
            methods.append("GET")
        return (*methods, "OPTIONS")

    def _create(self, headers: Headers, base_paths: tuple[str, ...]) -> Create:
        concat = self._concat(headers, base_paths)
        concat_header = headers.get(b"upload-concat")
        length = _creation_length(headers, is_final=concat.kind is Kind.FINAL)
        metadata_header = self._metadata_header(headers)
        body = self._creation_body(headers, concat.kind)
        return Create(
            length=length,
            kind=concat.kind,
            metadata_header=metadata_header,
            concat_header=None if concat_header is None else without_credentials(concat_header),
            parts=concat.parts,
            body=body,
        )

    def _fill(self, headers: Headers, upload_id: str) -> Fill:
        if b"upload-concat" in headers:
            # The upload of a link is neither a part nor made of parts.
            raise ExtensionDisabled("concatenation")
        return Fill(upload_id=upload_id, creation=self._create(headers, ()))

    def _concat(self, headers: Headers, base_paths: tuple[str, ...]) -> Concat:
        header = headers.get(b"upload-concat")
        if header is None:
            return Concat(Kind.REGULAR)
        if not self.limits.concatenation:
            raise ExtensionDisabled("concatenation")
        if len(header) > self.limits.concat_bytes_max:
            raise HeaderTooLarge("Upload-Concat", self.limits.concat_bytes_max)
        return parse_concat(header, CollectionUrl(base_paths=base_paths, hosts=self.hosts), self.limits.parts_max)

    def _metadata_header(self, headers: Headers) -> str | None:
        """The header as received, after validation: what is stored is later echoed."""
        header = headers.get(b"upload-metadata")
        if header is not None and len(header) > self.limits.metadata_bytes_max:
            raise HeaderTooLarge("Upload-Metadata", self.limits.metadata_bytes_max)
        if not header:
            return None
        read_metadata(header)
        return header

    def _creation_body(self, headers: Headers, kind: Kind) -> BodyInfo | None:
        """The body to store; None unless its type says so: some HTTP stacks set a default type on every POST."""
        length = parse_body_length(headers)
        refuse_content_range(headers)
        if kind is Kind.FINAL:
            # As in tusd: a final upload has no bytes of its own, so a body is a mistake of the client.
            if length or b"transfer-encoding" in headers:
                raise FinalUploadModified
            return None
        if not self.limits.creation_with_upload or not _is_offset_stream(headers):
            return None
        if is_encoded(headers):
            raise UnsupportedContentEncoding
        return self._body(headers, length)

    def _body(self, headers: Headers, length: int | None) -> BodyInfo:
        checksum, in_trailer = self._checksum(headers)
        return BodyInfo(length=length, checksum=checksum, checksum_in_trailer=in_trailer)

    def _checksum(self, headers: Headers) -> tuple[Checksum | None, bool]:
        header = headers.get(b"upload-checksum")
        in_trailer = _names_checksum(headers.get(b"trailer"))
        if in_trailer and not self.trailers:
            # The client wants its bytes verified; refusing them is better than storing them unverified.
            raise ExtensionDisabled("checksum-trailer")
        if header is None:
            return None, in_trailer
        if in_trailer:
            raise InvalidChecksum("Upload-Checksum", "a header or a trailer, not both")
        return parse_checksum(header, self.algorithms), False

    def _inspect(self, headers: Headers, upload_id: str) -> Request:
        # Without a version this may be a client of the draft, in which an upload can be unfinished at its length.
        return Inspect(upload_id=upload_id, length_completes=b"tus-resumable" in headers)

    def _terminate(self, headers: Headers, upload_id: str) -> Request:
        return Terminate(upload_id=upload_id)

    def _download(self, headers: Headers, upload_id: str) -> Request:
        return parse_download(headers, upload_id)

    def _append(self, headers: Headers, upload_id: str) -> Request:
        offset = parse_number(headers.get(b"upload-offset") or "")
        if offset is None:
            raise InvalidOffset("Upload-Offset", A_NUMBER)
        length = _length(headers)
        body = self._body(headers, parse_body_length(headers))
        refuse_content_range(headers)
        return Append(upload_id=upload_id, offset=offset, length=length, body=body, unsupported=_unsupported(headers))


_PARSERS: Mapping[str, Callable[[Parser, Headers, str], Request]] = MappingProxyType(
    {"HEAD": Parser._inspect, "PATCH": Parser._append, "DELETE": Parser._terminate, "GET": Parser._download}
)


def upload_id_in(path: str) -> str | None:
    """The upload id in ``path``: empty for the collection, None if no upload can have this path.

    Slashes before and after it are ignored, as many as there are.
    """
    upload_id = path.strip("/")
    return known_id(upload_id) if upload_id else upload_id


def _check_version(method: str, headers: Headers) -> None:
    """Core, Tus-Resumable: "MUST be included in every request and response except for OPTIONS requests".

    Requests that only read may omit it: downloads by browsers do, and so do clients of the draft.
    """
    version = headers.one(b"tus-resumable")
    if version is None:
        if method in ("POST", "PATCH", "DELETE"):
            raise UnsupportedVersion(None)
    elif version != VERSION:
        raise UnsupportedVersion(version)


def _creation_length(headers: Headers, *, is_final: bool) -> int | None:
    """The length of the new upload; None if it is deferred or follows from the parts."""
    length = _length(headers)
    deferred = headers.get(b"upload-defer-length")
    # Creation, Upload-Defer-Length: "Its value MUST be `1`."
    if deferred is not None and deferred != "1":
        raise InvalidDeferLength("Upload-Defer-Length", "1")
    if deferred is not None and length is not None:
        raise AmbiguousLength
    if deferred is None and length is None and not is_final:
        raise InvalidLength("Upload-Length", f"{A_NUMBER}, or Upload-Defer-Length: 1 instead")
    return length


def _length(headers: Headers) -> int | None:
    text = headers.get(b"upload-length")
    if text is None:
        return None
    length = parse_number(text)
    if length is None:
        raise InvalidLength("Upload-Length", A_NUMBER)
    return length


def _unsupported(headers: Headers) -> TusError | None:
    if not _is_offset_stream(headers):
        return UnsupportedContentType()
    return UnsupportedContentEncoding() if is_encoded(headers) else None


def _is_offset_stream(headers: Headers) -> bool:
    media_type = headers.get(b"content-type")
    return media_type is not None and (media_type == MEDIA_TYPE or parse_media_type(media_type) == MEDIA_TYPE)


def is_encoded(headers: Headers) -> bool:
    """Whether the body has a Content-Encoding other than ``identity``."""
    encoding = headers.get(b"content-encoding")
    return encoding is not None and encoding.lower() not in ("", "identity")


def refuse_content_range(headers: Headers) -> None:
    """Raise ``MalformedHeader`` if there is a Content-Range header.

    RFC 9110, 14.5: a server that does not support Content-Range must not store the part as if it were the whole.
    """
    if b"content-range" in headers:
        raise MalformedHeader("Content-Range", "no such header; give the position of the bytes in Upload-Offset")


def _names_checksum(trailer: str | None) -> bool:
    return trailer is not None and "upload-checksum" in [name.strip(" \t").lower() for name in trailer.split(",")]


def parse_download(headers: Headers, upload_id: str) -> Download:
    """A download with the range and the preconditions of ``headers``."""
    return Download(
        upload_id=upload_id,
        range=headers.get(b"range"),
        if_range=headers.get(b"if-range"),
        if_none_match=headers.get(b"if-none-match"),
        if_match=headers.get(b"if-match"),
        if_modified_since=headers.get(b"if-modified-since"),
        if_unmodified_since=headers.get(b"if-unmodified-since"),
    )
