"""Readable names of published files, made of the client's metadata and safe on every file system. Pure."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC

from tusd_py.model.upload import Upload
from tusd_py.protocol.metadata import parse_metadata

#: File systems allow 255; the rest is for suffixes.
NAME_BYTES_MAX = 200
#: Names are numbered up to this, so that a name costs a few attempts however many uploads have the same one.
_NUMBER_MAX = 9
_SUFFIX_CHARACTERS = 8  # 40 bits
_NO_OWNER = "nobody"
_OWNER_DIGEST_CHARACTERS = 16  # 80 bits
# Of up to four bytes each, so that the digest is not cut off.
_OWNER_CHARACTERS_MAX = (NAME_BYTES_MAX - 1 - _OWNER_DIGEST_CHARACTERS) // 4
_WITH_DIGEST = re.compile(r"-[a-z2-7]{16}\Z")
_FIELD = re.compile(r"\{([a-z]+)\}")
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_EXTENSION_BYTES_MAX = 20


def published_name(pattern: str, upload: Upload) -> str:
    """The relative path of ``upload`` by ``pattern``: safe names, separated by slashes.

    The fields of a pattern, such as ``{filename}``, are described in docs/publishing.md.
    """
    fields = _fields(upload)
    segments = (_FIELD.sub(lambda match: fields[match[1]], segment) for segment in pattern.split("/"))
    return "/".join(safe_name(segment) for segment in segments)


def _fields(upload: Upload) -> dict[str, str]:
    metadata = parse_metadata(upload.metadata_header)
    client_name = (metadata.get("filename") or metadata.get("name") or b"").decode("utf-8", "replace")
    # Some clients send whole paths; only the last segment is the file name.
    last = re.split(r"[/\\]", client_name)[-1]
    name = safe_name(last) if last.strip(". ") else upload.id
    stem, extension = _split_extension(name)
    at = (upload.completed_at or upload.updated_at).astimezone(UTC)
    return {
        "id": upload.id,
        "filename": name,
        "stem": stem,
        "extension": extension.removeprefix("."),
        "owner": _owner_name(upload.owner),
        "yyyy": f"{at.year:04}",
        "mm": f"{at.month:02}",
        "dd": f"{at.day:02}",
    }


def _owner_name(owner: str) -> str:
    """A name that no other owner has: with a digest if it differs from the owner, or could be taken for another's."""
    if not owner:
        return _NO_OWNER
    name = safe_name(owner)
    if name == owner and name != _NO_OWNER and not _WITH_DIGEST.search(name):
        return name
    digest = base64.b32encode(hashlib.sha256(owner.encode()).digest())[:_OWNER_DIGEST_CHARACTERS].decode().lower()
    return f"{name[:_OWNER_CHARACTERS_MAX]}-{digest}"


def safe_name(text: str) -> str:
    """Make ``text`` a valid name of one file or directory on Linux, macOS and Windows."""
    text = unicodedata.normalize("NFC", text)
    # Invisible characters are replaced too: some reverse the reading direction, so gpj.exe would look like exe.jpg.
    visible = "".join(character if character.isprintable() else "_" for character in text)
    name = _FORBIDDEN.sub("_", visible).strip(" ").rstrip(". ")
    if name.startswith("."):
        name = f"_{name[1:]}"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return _shortened(name) or "_"


def candidates(path: str, upload_id: str) -> Iterator[str]:
    """The names to try for ``path``, in order, without end: ``image.jpg``, ``image-2.jpg`` to ``image-9.jpg``, others.

    The others have a suffix such as ``image-mzxw6ytb.jpg``, which is unused although nothing is counted or listed. It
    follows from the id, so that an attempt after a crash finds the name of the one before, but does not reveal it.
    """
    yield path
    for number in range(2, _NUMBER_MAX + 1):
        yield _with_suffix(path, str(number))
    for attempt in itertools.count():
        digest = hashlib.sha256(f"{upload_id} {attempt}".encode()).digest()
        yield _with_suffix(path, base64.b32encode(digest)[:_SUFFIX_CHARACTERS].decode().lower())


def _with_suffix(path: str, suffix: str) -> str:
    directory, slash, name = path.rpartition("/")
    stem, extension = _split_extension(name)
    return f"{directory}{slash}{stem}-{suffix}{extension}"


def _split_extension(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _EXTENSION_BYTES_MAX:
        return name, ""
    return stem, f"{dot}{extension}"


def _shortened(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, extension = _split_extension(name)
    stem_bytes_max = NAME_BYTES_MAX - len(extension.encode())
    return stem.encode()[:stem_bytes_max].decode("utf-8", "ignore").rstrip(". ") + extension
