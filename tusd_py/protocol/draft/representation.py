"""Derive upload metadata from the representation headers of a draft request (Content-Type, Content-Disposition).

The draft has no metadata header of its own: "Representation metadata included in the initial request ... can affect how
servers act on the uploaded representation data."
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from tusd_py.protocol.draft.digests import parse_digest
from tusd_py.protocol.errors import HeaderTooLarge
from tusd_py.protocol.headers import Headers, parse_media_type
from tusd_py.protocol.metadata import format_metadata, parse_metadata

#: The metadata key that keeps the Repr-Digest header as received, so that validation can verify the complete upload.
REPR_DIGEST = "repr-digest"
#: The type of appends. tus-js-client also sends it with creations; it says nothing about the content of the upload.
MEDIA_TYPE = "application/partial-upload"

# RFC 6266, 4.1, and RFC 8187, 3.2: parameters, whose value is a token or a quoted string.
_PARAMETER = re.compile(r';[ \t]*(filename\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]+)', re.IGNORECASE)
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'([!#$&+.^_`|~0-9A-Za-z%-]*)", re.IGNORECASE)


def parse_description(headers: Headers, bytes_max: int) -> str | None:
    """The Upload-Metadata value that describes the upload; None if ``headers`` describe nothing.

    ``Upload-Metadata`` itself is not part of the draft, but clients of both protocols send it; it is kept as received.
    Raises ``InvalidMetadata``, ``InvalidChecksum``, or ``HeaderTooLarge`` if the value exceeds ``bytes_max``.
    """
    header = headers.get(b"upload-metadata") or ""
    declared = parse_metadata(header)
    derived: dict[str, bytes] = {}
    if not header:
        filename = parse_filename(headers.get(b"content-disposition") or "")
        if filename:
            derived["filename"] = filename.encode()
        media_type = headers.get(b"content-type") or ""
        if media_type and parse_media_type(media_type) != MEDIA_TYPE:
            derived["filetype"] = media_type.encode("latin-1")
    digest = headers.get(b"repr-digest")
    if digest is not None and parse_digest("Repr-Digest", digest) is not None and REPR_DIGEST not in declared:
        derived[REPR_DIGEST] = digest.encode("latin-1")
    combined = ",".join(filter(None, (header, format_metadata(derived))))
    if len(combined) > bytes_max:
        raise HeaderTooLarge("Upload-Metadata, or the headers used in its place,", bytes_max)
    return combined or None


def parse_filename(header: str) -> str | None:
    """The last path segment of the name in a ``Content-Disposition`` header, or None.

    RFC 6266, 4.3: "recipients SHOULD pick "filename*" and ignore "filename"", and "recipients SHOULD strip" folders.
    """
    values = {match[1].lower(): match[2] for match in reversed(list(_PARAMETER.finditer(header)))}
    name = _extended(values.get("filename*", ""))
    if name is None and "filename" in values:
        name = _plain(values["filename"])
    return re.split(r"[/\\]", name)[-1] or None if name else None


def _extended(text: str) -> str | None:
    match = _EXTENDED.fullmatch(text)
    if match is None:
        return None
    try:
        return unquote_to_bytes(match[2]).decode(match[1])
    except UnicodeDecodeError:
        return None


def _plain(text: str) -> str:
    if text.startswith('"'):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        # Browsers send UTF-8 here, against the standard.
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text
