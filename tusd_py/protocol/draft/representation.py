"""What a draft client says of its upload, in headers that describe any content, as this server's metadata.

The draft has no metadata of its own: "Representation metadata included in the initial request ... can affect how
servers act on the uploaded representation data."
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from tusd_py.protocol.draft.digests import parse_digest
from tusd_py.protocol.errors import HeaderTooLarge
from tusd_py.protocol.headers import Headers, parse_media_type
from tusd_py.protocol.metadata import format_metadata, parse_metadata

#: What a client that knows the whole upload's digest has said, byte for byte, for whoever verifies it when complete.
REPR_DIGEST = "repr-digest"
#: Appends are of this type, and tus-js-client gives it to creations with content as well: it describes no content.
MEDIA_TYPE = "application/partial-upload"

# RFC 6266, 4.1, and RFC 8187, 3.2: parameters; a regular one may be a token or a quoted string.
_PARAMETER = re.compile(r';[ \t]*(filename\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]+)', re.IGNORECASE)
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'([!#$&+.^_`|~0-9A-Za-z%-]*)", re.IGNORECASE)


def parse_description(headers: Headers, bytes_max: int) -> str | None:
    """The metadata header of an upload that is described by ``headers``; None where nothing is said.

    ``Upload-Metadata`` is not the draft's, but clients of both protocols send it: then it is kept as it came. Raises
    ``InvalidMetadata``, ``InvalidChecksum``, or ``HeaderTooLarge`` where it would take more than ``bytes_max``.
    """
    header = headers.get(b"upload-metadata") or ""
    told = parse_metadata(header)
    found: dict[str, bytes] = {}
    if not header:
        filename = parse_filename(headers.get(b"content-disposition") or "")
        if filename:
            found["filename"] = filename.encode()
        media_type = headers.get(b"content-type") or ""
        if media_type and parse_media_type(media_type) != MEDIA_TYPE:
            found["filetype"] = media_type.encode("latin-1")
    digest = headers.get(b"repr-digest")
    if digest is not None and parse_digest("Repr-Digest", digest) is not None and REPR_DIGEST not in told:
        found[REPR_DIGEST] = digest.encode("latin-1")
    whole = ",".join(filter(None, (header, format_metadata(found))))
    if len(whole) > bytes_max:
        raise HeaderTooLarge("Upload-Metadata, or what is told in its place,", bytes_max)
    return whole or None


def parse_filename(header: str) -> str | None:
    """The last segment of the name that a ``Content-Disposition`` header gives, or None.

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
        # Browsers write UTF-8 here, whatever the standard says.
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text
