"""Compares declared media types with detected ones, which often differ in name but not in meaning."""

from __future__ import annotations

#: Detected: content without a known type. Declared: no statement about the type.
UNKNOWN = "application/octet-stream"
#: Detected for an upload without bytes; it agrees with every declared type.
EMPTY = frozenset({"inode/x-empty", "application/x-empty"})

_ALIASES = {
    "application/acrobat": "application/pdf",
    "application/csv": "text/csv",
    "application/gzip-compressed": "application/gzip",
    "application/javascript": "text/javascript",
    "application/rtf": "text/rtf",
    "application/vnd.rar": "application/x-rar",
    "application/x-7zip-compressed": "application/x-7z-compressed",
    "application/x-bzip": "application/x-bzip2",
    "application/x-gzip": "application/gzip",
    "application/x-javascript": "text/javascript",
    "application/x-pdf": "application/pdf",
    "application/x-rar-compressed": "application/x-rar",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "application/xml": "text/xml",
    "audio/flac": "audio/x-flac",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/heif": "image/heic",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/vnd.microsoft.icon": "image/x-icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "text/comma-separated-values": "text/csv",
    "text/x-csv": "text/csv",
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
}

# Text that a browser runs or renders: it never agrees with other text.
_ACTIVE = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/x-php", "text/x-shellscript"})
_XML = frozenset({"image/svg+xml", "application/xhtml+xml"})
_TEXTS = frozenset(
    {"application/json", "application/ndjson", "application/sql", "application/toml", "application/x-ndjson"}
    | {"application/x-sql", "application/x-subrip", "application/x-tex", "application/x-yaml", "application/yaml"}
    | {"application/x-wine-extension-ini", "message/rfc822"}
)
_ZIPPED = ("application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument.")
_ZIPPED_TYPES = frozenset(
    {"application/epub+zip", "application/java-archive", "application/vnd.android.package-archive"}
    | {"application/vnd.google-earth.kmz", "application/x-xpinstall", "model/3mf"}
)
_OLE = frozenset(
    {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.visio"}
    | {"application/vnd.ms-outlook", "application/vnd.ms-project"}
)
_OLE_DETECTED = frozenset({"application/cdfv2", "application/x-ole-storage", "application/vnd.ms-office"})
_SAME_CONTAINER = (
    frozenset({"video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp", "video/3gpp2", "application/mp4"})
    | frozenset({"audio/mp4", "audio/x-m4a", "audio/m4a", "audio/aac"}),
    frozenset({"video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"}),
    frozenset({"audio/ogg", "video/ogg", "application/ogg", "audio/opus"}),
    frozenset({"image/heic", "image/heic-sequence", "image/heif-sequence"}),
    frozenset({"audio/aac", "audio/x-hx-aac-adts"}),
    frozenset({"video/mp2t", "video/mpeg", "video/mpv"}),
)
# Types that are always detected: content without a known type is none of these.
_ALWAYS_DETECTED = frozenset(
    {"application/pdf", "application/zip", "application/gzip", "application/x-7z-compressed", "application/x-rar"}
    | {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/heic", "image/avif"}
    | {"audio/wav", "audio/x-flac", "audio/ogg", "video/webm", "video/x-matroska", "video/x-msvideo", "video/mp4"}
    | {"application/x-bzip2", "application/x-xz", "text/rtf"}
)


def canonical_name(media_type: str) -> str:
    """The one name, in lower case, that stands for all names of ``media_type``."""
    media_type = media_type.lower()
    return _ALIASES.get(media_type, media_type)


def types_agree(declared: str, detected: str) -> bool:
    """Whether content of the ``detected`` type may be what was ``declared``."""
    declared, detected = canonical_name(declared), canonical_name(detected)
    if declared in (detected, UNKNOWN) or detected in EMPTY:
        return True
    if detected == UNKNOWN:
        return declared not in _ALWAYS_DETECTED and not _is_text(declared) and not _is_zipped(declared)
    return (
        _refines(declared, detected)
        or _refines(detected, declared)
        or any({declared, detected} <= types for types in _SAME_CONTAINER)
    )


def more_specific(declared: str, detected: str) -> str:
    """The declared type where it is a special case of the detected one (a document for a zip), else the latter."""
    plain = canonical_name(declared), canonical_name(detected)
    if _refines(*plain) or any(set(plain) <= types for types in _SAME_CONTAINER):
        return plain[0]
    return plain[1]


def _refines(special: str, general: str) -> bool:
    """Whether ``special`` is a kind of ``general`` that is rarely detected by the bytes alone."""
    if general == "application/zip":
        return _is_zipped(special)
    if general in _OLE_DETECTED:
        return special in _OLE
    if special in _ACTIVE or general in _ACTIVE:
        return special in _XML and general == "text/xml"
    return _is_text(special) and _is_text(general)


def _is_zipped(media_type: str) -> bool:
    return media_type in _ZIPPED_TYPES or media_type.startswith(_ZIPPED) or media_type.endswith("+zip")


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in _TEXTS or media_type.endswith(("+json", "+xml"))
