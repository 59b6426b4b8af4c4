"""GET: which bytes of an upload to send, with which headers (RFC 9110, sections 8, 13 and 14; RFC 6266).

The metadata of an upload is untrusted input: no decoded value reaches a header unescaped.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tusd_py.model.caller import HeaderList
from tusd_py.model.upload import Upload
from tusd_py.protocol.dates import format_date, parse_date
from tusd_py.protocol.errors import PreconditionFailed, RangeNotSatisfiable
from tusd_py.protocol.file_names import shown_name
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.requests import Download

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = re.compile(r'(W/)?("[!#-~\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,30})-([0-9]{0,30})|-([0-9]{1,30}))[ \t]*", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
# The name of a charset as IANA registers them, quoted or not.
_CHARSET = re.compile(r""";[ \t]*charset=["']?([a-z0-9][a-z0-9_.:+-]{0,39})["']?[ \t]*(?=;|$)""", re.IGNORECASE)
# Characters other than those every browser keeps in a quoted string. Some browsers would decode a percent sign.
_UNSAFE = re.compile(r"[^ !#$&-\[\]-~]")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, not including, ``stop``; ``partial`` when they answer a Range header (206)."""

    start: int
    stop: int
    partial: bool


def select_range(request: Download, upload: Upload) -> ByteRange | None:
    """The stored bytes to send; None if the client already has them (304).

    Preconditions are evaluated in the order of RFC 9110, 13.2.2. Raises ``PreconditionFailed`` or
    ``RangeNotSatisfiable``.
    """
    tag, changed_at = format_etag(upload), _changed_at(upload)
    if request.if_match is not None:
        if not _matches(request.if_match, tag, weakly=False):
            raise PreconditionFailed
    elif (date := parse_date(request.if_unmodified_since)) is not None and changed_at > date:
        raise PreconditionFailed
    if request.if_none_match is not None:
        if _matches(request.if_none_match, tag, weakly=True):
            return None
    elif (date := parse_date(request.if_modified_since)) is not None and changed_at <= date:
        return None
    everything = ByteRange(0, upload.offset, partial=False)
    if request.range is None or not _may_be_partial(request.if_range, tag, upload):
        return everything
    return _parse_range(request.range, upload.offset) or everything


def _matches(header: str, tag: str, *, weakly: bool) -> bool:
    """RFC 9110, 8.8.3.2: weak comparison ignores the W/ prefix; strong comparison requires both tags to be strong."""
    if header == "*":
        return True
    return any(opaque == tag and (weakly or not weak) for weak, opaque in _TAG.findall(header))


def _may_be_partial(if_range: str | None, tag: str, upload: Upload) -> bool:
    """RFC 9110, 13.1.5: with If-Range, a range is sent only if the representation has not changed."""
    if if_range is None or if_range == tag:
        return True
    # A date does not distinguish two changes within one second, so it counts only once the upload is complete.
    return upload.is_complete and parse_date(if_range) == _changed_at(upload)


def _parse_range(header: str, length: int) -> ByteRange | None:
    """The single range in the header; None for several ranges or an unknown unit: then everything is sent."""
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        # 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire
        # representation is used"; but an empty representation has no valid Content-Range.
        if int(suffix) and length == 0:
            return None
        start, stop = max(0, length - int(suffix)), length
    else:
        start, stop = int(first), min(length, int(last) + 1) if last else length
        if last and int(last) < start:
            return None
    if start >= length:
        raise RangeNotSatisfiable(length)
    return ByteRange(start, stop, partial=True)


def format_etag(upload: Upload) -> str:
    """A strong entity tag, with the creation time because a hook may reuse an id, and the offset until completion."""
    created = (upload.created_at - _EPOCH) // timedelta(microseconds=1)
    return f'"{upload.id}-{created:x}"' if upload.is_complete else f'"{upload.id}-{created:x}-{upload.offset}"'


def _changed_at(upload: Upload) -> datetime:
    """When the bytes last changed, truncated to the whole seconds of HTTP dates."""
    return (upload.completed_at or upload.updated_at).replace(microsecond=0)


def validator_headers(upload: Upload) -> HeaderList:
    """The validator fields (RFC 9110, 8.8) and Cache-Control; a 304 has only these."""
    return [
        (b"etag", format_etag(upload).encode("ascii")),
        (b"last-modified", format_date(_changed_at(upload)).encode("ascii")),
        # An upload may be terminated at any time, and shared caches do not know which clients can read it.
        (b"cache-control", b"private, no-cache"),
    ]


def content_headers(upload: Upload, inline_types: Set[str]) -> HeaderList:
    """The headers that describe the bytes. Only ``inline_types`` are displayed by browsers, in a sandbox."""
    metadata = parse_metadata(upload.metadata_header)
    media_type, charset = _media_type(metadata.get("filetype", b""))
    name = shown_name(metadata)
    headers = [(b"accept-ranges", b"bytes"), (b"x-content-type-options", b"nosniff")]
    if media_type in inline_types:
        # Without a charset browsers guess one: UTF-8 is shown as another encoding.
        shown_as = f"{media_type}; charset={charset or 'utf-8'}" if media_type.startswith("text/") else media_type
        headers.append((b"content-type", shown_as.encode("ascii")))
        headers.append((b"content-security-policy", b"sandbox"))
        disposition = "inline"
    else:
        headers.append((b"content-type", b"application/octet-stream"))
        disposition = "attachment"
    headers.append((b"content-disposition", format_disposition(disposition, name).encode("ascii")))
    return headers


def declared_type(upload: Upload) -> str:
    """The media type that the client declares, with its charset; empty if it declares none that is valid."""
    media_type, charset = _media_type(parse_metadata(upload.metadata_header).get("filetype", b""))
    return f"{media_type}; charset={charset}" if media_type and charset else media_type


def _media_type(value: bytes) -> tuple[str, str]:
    """The media type in lower case, and its charset; each is empty if the value has none that is valid."""
    media_type, _, parameters = value.decode("latin-1").partition(";")
    media_type = media_type.strip().lower()
    charset = _CHARSET.search(f";{parameters}")
    return (media_type if _MEDIA_TYPE.fullmatch(media_type) else ""), (charset[1].lower() if charset else "")


def format_disposition(disposition: str, name: str) -> str:
    """RFC 6266: ``filename`` in ASCII and, if that loses characters, also ``filename*`` in UTF-8."""
    if not name:
        return disposition
    plain = _UNSAFE.sub("_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{disposition}; filename="{plain}"{extended}'
