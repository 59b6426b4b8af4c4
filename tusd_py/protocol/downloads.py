"""GET: which bytes of an upload are given, under which headers (RFC 9110, sections 8, 13 and 14; RFC 6266).

What the client once said about its upload is hostile here: no decoded value reaches a header as it is.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tusd_py.model.upload import Upload
from tusd_py.protocol.dates import format_date, parse_date
from tusd_py.protocol.errors import PreconditionFailed, RangeNotSatisfiable
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.requests import Download

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = re.compile(r'(W/)?("[!#-~\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,30})-([0-9]{0,30})|-([0-9]{1,30}))[ \t]*", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
_NAME_CHARACTERS_MAX = 255
# Kept as they are in a quoted string by every browser; a percent sign some of them would decode.
_ODD = re.compile(r"[^ !#$&-\[\]-~]")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to ``stop`` (excluded); ``partial`` when that is the range that was asked for."""

    start: int
    stop: int
    partial: bool


def select(request: Download, upload: Upload) -> Span | None:
    """Which bytes of those stored to give; None when the client has them already (304).

    The order is that of RFC 9110, 13.2.2. Raises ``PreconditionFailed`` or ``RangeNotSatisfiable``.
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
    whole = Span(0, upload.offset, partial=False)
    if request.range is None or not _may_be_partial(request.if_range, tag, upload):
        return whole
    return _span(request.range, upload.offset) or whole


def _matches(header: str, tag: str, *, weakly: bool) -> bool:
    """RFC 9110, 8.8.3.2: two tags match weakly whatever their prefix, strongly only where neither is weak."""
    if header == "*":
        return True
    return any(opaque == tag and (weakly or not weak) for weak, opaque in _TAG.findall(header))


def _may_be_partial(if_range: str | None, tag: str, upload: Upload) -> bool:
    """RFC 9110, 13.1.5: with If-Range, a part is given only if the whole is still the one that it was taken from."""
    if if_range is None or if_range == tag:
        return True
    # A date tells apart only what changed in different seconds, so it is good only once nothing changes any more.
    return upload.is_complete and parse_date(if_range) == _changed_at(upload)


def _span(header: str, length: int) -> Span | None:
    """The one range asked for; None where there are several or the header is none that we know: then all is given."""
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        # 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire
        # representation is used"; nothing of nothing cannot be written as a Content-Range.
        if int(suffix) and length == 0:
            return None
        start, stop = max(0, length - int(suffix)), length
    else:
        start, stop = int(first), min(length, int(last) + 1) if last else length
        if last and int(last) < start:
            return None
    if start >= length:
        raise RangeNotSatisfiable(length)
    return Span(start, stop, partial=True)


def format_etag(upload: Upload) -> str:
    """A strong tag: an id may be used again once an upload is gone, and an unfinished one grows."""
    made = (upload.created_at - _EPOCH) // timedelta(microseconds=1)
    return f'"{upload.id}-{made:x}"' if upload.is_complete else f'"{upload.id}-{made:x}-{upload.offset}"'


def _changed_at(upload: Upload) -> datetime:
    """When the bytes last changed, in whole seconds as HTTP has them."""
    return (upload.completed_at or upload.updated_at).replace(microsecond=0)


def validators(upload: Upload) -> list[tuple[bytes, bytes]]:
    """The headers by which a client recognises what it has; 304 carries these alone."""
    return [
        (b"etag", format_etag(upload).encode("ascii")),
        (b"last-modified", format_date(_changed_at(upload)).encode("ascii")),
        # An upload may be terminated at any time, and belongs to whoever may read it.
        (b"cache-control", b"private, no-cache"),
    ]


def describe(upload: Upload, inline_types: Set[str]) -> list[tuple[bytes, bytes]]:
    """The headers that say what the bytes are. Only ``inline_types`` are shown in the browser, and those sandboxed."""
    metadata = parse_metadata(upload.metadata_header)
    media_type = _media_type(metadata.get("filetype", b""))
    name = _file_name(metadata.get("filename") or metadata.get("name") or b"")
    headers = [(b"accept-ranges", b"bytes"), (b"x-content-type-options", b"nosniff")]
    if media_type in inline_types:
        headers.append((b"content-type", media_type.encode("ascii")))
        headers.append((b"content-security-policy", b"sandbox"))
        disposition = "inline"
    else:
        headers.append((b"content-type", b"application/octet-stream"))
        disposition = "attachment"
    headers.append((b"content-disposition", format_disposition(disposition, name).encode("ascii")))
    return headers


def _media_type(value: bytes) -> str:
    """The type without parameters in lower case; empty where it is none."""
    media_type = value.decode("latin-1").partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else ""


def _file_name(value: bytes) -> str:
    """The last segment of the name, of visible characters only; empty where nothing is left.

    Invisible ones go as well because some turn the reading direction round: gpj.exe would be read exe.jpg.
    """
    last = re.split(r"[/\\]", value.decode("utf-8", "replace"))[-1]
    name = "".join(character for character in last if character.isprintable()).strip(" .")
    return name[:_NAME_CHARACTERS_MAX]


def format_disposition(disposition: str, name: str) -> str:
    """RFC 6266: the name in ASCII for old readers and, where that loses anything, in UTF-8 for all others."""
    if not name:
        return disposition
    plain = _ODD.sub("_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{disposition}; filename="{plain}"{extended}'
