"""Compares declared media types with detected ones, which often differ in name but not in meaning.

``media_type_names.json`` says which names mean one type, and which types are special cases of others. It is generated
from shared-mime-info and mime-db (``make media-types``). The tables here hold what those do not say: the names of
libmagic, what browsers declare, containers, and the content that must never pass as something else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

#: Detected: content without a known type. Declared: no statement about the type.
UNKNOWN = "application/octet-stream"
#: Detected for an upload without bytes; it agrees with every declared type.
EMPTY = frozenset({"inode/x-empty", "application/x-empty"})

_TABLE = json.loads(Path(__file__).with_name("media_type_names.json").read_text())

_OWN_ALIASES = {
    # Names of libmagic that shared-mime-info does not have.
    "application/vnd.microsoft.portable-executable": "application/x-ms-dos-executable",
    "application/vnd.ms-opentype": "font/otf",
    "application/x-dosexec": "application/x-ms-dos-executable",
    "application/x-java-applet": "application/x-java",
    "audio/vnd.dolby.dd-raw": "audio/ac3",
    "audio/x-hx-aac-adts": "audio/aac",
    "font/sfnt": "font/ttf",
    "image/x-portable-greymap": "image/x-portable-graymap",
    "text/x-msdos-batch": "application/x-bat",
    "text/x-perl": "application/x-perl",
    "text/x-php": "application/x-php",
    "text/x-ruby": "application/x-ruby",
    "text/x-script.python": "text/x-python",
    "text/x-shellscript": "application/x-shellscript",
    # Names of clients that the databases do not have, or have for another type.
    "application/7z": "application/x-7z-compressed",
    "application/acad": "image/vnd.dwg",
    "application/csv": "text/csv",
    "application/dxf": "image/vnd.dxf",
    "application/eps": "image/x-eps",
    "application/exe": "application/x-ms-dos-executable",
    "application/font-sfnt": "font/ttf",
    "application/font-woff": "font/woff",
    "application/gzip-compressed": "application/gzip",
    "application/java": "application/x-java",
    "application/msexcel": "application/vnd.ms-excel",
    "application/vnd.ms-visio": "application/vnd.visio",
    "application/x-compressed": "application/gzip",
    "application/x-diskcopy": "application/x-apple-diskimage",
    "application/x-exe": "application/x-ms-dos-executable",
    "application/x-dxf": "image/vnd.dxf",
    "application/x-elf": "application/x-executable",
    "application/x-font-opentype": "font/otf",
    "application/x-font-truetype": "font/ttf",
    "application/x-font-woff": "font/woff",
    "application/x-java-class": "application/x-java",
    "application/x-photoshop": "image/vnd.adobe.photoshop",
    "application/x-tgz": "application/x-compressed-tar",
    "audio/mid": "audio/midi",
    "audio/x-mp3": "audio/mpeg",
    "font/opentype": "font/otf",
    "image/jpg": "image/jpeg",
    "image/x-dwg": "image/vnd.dwg",
    "text/php": "application/x-php",
    "video/x-mpeg": "video/mpeg",
}


def canonical_name(media_type: str) -> str:
    """The one name, in lower case and without ``x-``, that stands for all names of ``media_type``."""
    media_type = media_type.lower()
    for aliases in (_OWN_ALIASES, _TABLE["aliases"]):
        media_type = aliases.get(media_type, media_type)
    kind, _, name = media_type.partition("/")
    # RFC 6648: a name with "x-" and the registered one without it mean the same type.
    return f"{kind}/{name.removeprefix('x-')}"


def _names(*media_types: str) -> frozenset[str]:
    return frozenset(map(canonical_name, media_types))


# The more general types of a type, by canonical names.
_PARENTS = {canonical_name(name): _names(*parents) for name, parents in _TABLE["parents"].items()}
_TEXT, _XML, _ZIP, _OLE_ANY = map(
    canonical_name, ("text/plain", "application/xml", "application/zip", "application/x-ole-storage")
)
_HTML, _SVG = "text/html", "image/svg+xml"
_PHP = canonical_name("application/x-php")
# shared-mime-info says that these are plain text. They are programs and documents for other programs than editors.
for _type in _names("application/postscript", "application/rtf"):
    _PARENTS[_type] -= {_TEXT}
# Text that a browser runs or renders: it never agrees with other text.
_SCRIPTS = _names("application/x-php", "application/x-shellscript")
_ACTIVE = _names(_HTML, "application/xhtml+xml", _SVG) | _SCRIPTS
_ACTIVE_XML = _names(_SVG, "application/xhtml+xml")
# Formats that are either text or binary.
_TEXT_OR_BINARY = _names(
    *("application/pkix-cert", "application/sla", "application/vnd.ms-pki.stl", "application/x-plist"),
    *("application/x-x509-ca-cert", "model/stl"),
)
_TEXTS = _TEXT_OR_BINARY | _names(
    *("application/ndjson", "application/pem-certificate-chain", "application/pem-file", "application/typescript"),
    *("application/wine-extension-ini", "application/x-latex", "application/x-tex", "application/yaml", "model/obj"),
)
_ZIPPED = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/vnd.apple.",
)
_ZIPPED_TYPES = _names(
    *("application/vnd.google-earth.kmz", "application/x-xpinstall", "application/x-jar", "application/x-cbz"),
    *("application/x-iwork-keynote-sffkey", "application/x-iwork-numbers-sffnumbers", "model/3mf"),
    *("application/x-iwork-pages-sffpages", "application/vnd.ms-package.3dmanufacturing-3dmodel+xml"),
    "application/vnd.ms-visio.drawing.main+xml",
)
_OLE = _names(
    *("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.visio"),
    *("application/vnd.ms-outlook", "application/vnd.ms-project", "application/x-ms-installer"),
)
_OLE_DETECTED = _names("application/cdfv2", "application/x-ole-storage", "application/vnd.ms-office")
# Documents of Office are detected by their application only: as a template, with macros or as a slide show they are
# the same to libmagic.
_OFFICE = (
    (f"{_ZIPPED[0]}wordprocessingml.", "application/vnd.ms-word."),
    (f"{_ZIPPED[0]}spreadsheetml.", "application/vnd.ms-excel."),
    (f"{_ZIPPED[0]}presentationml.", "application/vnd.ms-powerpoint."),
)
_SAME_CONTAINER = (
    _names(
        *("video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp", "video/3gpp2", "application/mp4"),
        *("audio/mp4", "audio/aac", "audio/3gpp", "audio/3gpp2"),
    ),
    _names("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"),
    _names("audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/x-vorbis+ogg"),
    _names("image/heif", "image/heic", "image/heic-sequence", "image/heif-sequence"),
    _names("audio/aac", "audio/vnd.dlna.adts"),
    _names("video/mp2t", "video/mpeg", "video/mpv", "video/vnd.dlna.mpeg-tts"),
    _names("video/x-msvideo", "video/vnd.avi"),
    _names("application/x-executable", "application/x-sharedlib", "application/x-pie-executable"),
    _names("application/x-hdf", "application/x-hdf5"),
    # A disk image of macOS begins with its first compressed block.
    _names("application/x-apple-diskimage", "application/zlib", "application/x-bzip2", "application/x-xz"),
    # Python's mimetypes and some browsers declare a compressed archive as the archive.
    _names("application/x-tar", "application/gzip"),
    _names("application/x-tar", "application/x-compressed-tar", "application/x-tar+gzip"),
    _names("application/gzip", "application/x-tar+gzip"),
    # Windows declares what the extension is associated with: RTF belongs to Word.
    _names("application/msword", "application/rtf"),
    _names("image/tiff", "image/dng"),
    _names("image/tiff", "image/nef"),
)
# Windows declares CSV as a file of Excel, if that is installed.
_EXCEL, _CSV = "application/vnd.ms-excel", "text/csv"
# Types that are always detected: content without a known type is none of these.
_ALWAYS_DETECTED = _names(
    *("application/pdf", "application/zip", "application/gzip", "application/x-7z-compressed", "application/x-rar"),
    *("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/heic", "image/avif"),
    *("audio/wav", "audio/x-flac", "audio/ogg", "video/webm", "video/x-matroska", "video/x-msvideo", "video/mp4"),
    *("application/x-bzip2", "application/x-xz", "text/rtf"),
)


def types_agree(declared: str, detected: str) -> bool:
    """Whether content of the ``detected`` type may be what was ``declared``."""
    if detected in EMPTY:
        return True
    declared, detected = canonical_name(declared), canonical_name(detected)
    if declared in (detected, UNKNOWN):
        return True
    if detected == UNKNOWN:
        is_text = _is_text(declared) and declared not in _TEXT_OR_BINARY
        return not (is_text or declared in _ALWAYS_DETECTED or _is_zipped(declared))
    return (
        _refines(declared, detected)
        or _refines(detected, declared)
        or _share_container(declared, detected)
        or _is_csv_of_excel(declared, detected)
        or _is_unmarked_script(declared, detected)
    )


def is_allowed(allowed: Sequence[str], declared: str, detected: str) -> bool:
    """Whether content of the ``detected`` type matches one of the patterns ``allowed``.

    Where the declared type is a special case of the detected one (a document for a zip), it counts as well. A pattern
    without wildcards is a type, and matches under all its names.
    """
    types = {detected.lower(), more_specific(declared, detected)}
    names = set(map(canonical_name, types))
    patterns = [pattern.lower() for pattern in allowed]
    return any(
        canonical_name(pattern) in names or any(fnmatchcase(name, pattern) for name in types) for pattern in patterns
    )


def more_specific(declared: str, detected: str) -> str:
    """The declared type where it is a special case of the detected one (a document for a zip), else the latter."""
    special, general = canonical_name(declared), canonical_name(detected)
    if _is_csv_of_excel(special, general):
        return _CSV
    return (declared if _refines(special, general) or _share_container(special, general) else detected).lower()


def _share_container(one: str, other: str) -> bool:
    return any({one, other} <= types for types in _SAME_CONTAINER)


def _is_csv_of_excel(declared: str, detected: str) -> bool:
    return declared == _EXCEL and detected not in _ACTIVE and detected.startswith("text/")


def _is_unmarked_script(declared: str, detected: str) -> bool:
    """Whether the content may be a script without the first line that marks it; PHP may begin with HTML."""
    return declared in _SCRIPTS and (detected == _TEXT or (declared == _PHP and detected == _HTML))


def _refines(special: str, general: str) -> bool:
    """Whether ``special`` is a kind of ``general`` that is rarely detected by the bytes alone."""
    if general == _ZIP:
        return _is_zipped(special)
    if general in _OLE_DETECTED:
        return special in _OLE or _OLE_ANY in _general_types(special)
    if special in _ACTIVE or general in _ACTIVE:
        return special in _ACTIVE_XML and general == _XML
    if any(special.startswith(names) and general.startswith(names) for names in _OFFICE):
        return True
    return general in _general_types(special) or (_is_text(special) and _is_text(general))


def _general_types(media_type: str) -> set[str]:
    """All types that ``media_type`` is a special case of."""
    found: set[str] = set()
    new = set(_PARENTS.get(media_type, ()))
    while new:
        found |= new
        new = {parent for name in new for parent in _PARENTS.get(name, ())} - found
    return found


def _is_zipped(media_type: str) -> bool:
    return (
        media_type in _ZIPPED_TYPES
        or media_type.startswith(_ZIPPED)
        or media_type.endswith("+zip")
        or _ZIP in _general_types(media_type)
    )


def _is_text(media_type: str) -> bool:
    return media_type not in _ZIPPED_TYPES and (
        media_type in _TEXTS
        or media_type.startswith("text/")
        or media_type.endswith(("+json", "+xml"))
        or _TEXT in _general_types(media_type)
    )
