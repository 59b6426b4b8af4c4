"""Readable names of published files, made of the client's metadata and safe on every file system. Pure."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC

from tusd_py.model.text import JOINERS, visible
from tusd_py.model.upload import Upload
from tusd_py.protocol.file_names import declared_folders, declared_name, split_extension
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
#: The field that stands for the folders of a dropped folder; a whole segment of a pattern.
FOLDERS = "{folders}"
_FOLDERS_MAX = 16
_FOLDERS_BYTES_MAX = 1000  # Linux allows paths of 4096


def published_name(pattern: str, upload: Upload) -> str:
    """The relative path of ``upload`` by ``pattern``: safe names, separated by slashes.

    The fields of a pattern, such as ``{filename}``, are described in docs/publishing.md.
    """
    metadata = parse_metadata(upload.metadata_header)
    fields = _fields(upload, metadata)
    names: list[str] = []
    for segment in pattern.split("/"):
        if segment == FOLDERS:
            names += _folders(metadata)
        else:
            names.append(safe_name(_FIELD.sub(lambda match: fields[match[1]], segment)))
    return "/".join(names)


def _folders(metadata: Mapping[str, bytes]) -> list[str]:
    """The folders that the client sent, as safe names: as many as are allowed, from the first."""
    names: list[str] = []
    size = 0
    for folder in declared_folders(metadata)[:_FOLDERS_MAX]:
        name = safe_name(folder)
        size += len(name.encode()) + 1
        if size > _FOLDERS_BYTES_MAX:
            break
        names.append(name)
    return names


def _fields(upload: Upload, metadata: Mapping[str, bytes]) -> dict[str, str]:
    client_name = declared_name(metadata)
    name = safe_name(client_name) if client_name.strip(". ") else upload.id
    stem, extension = split_extension(name)
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
    name = _FORBIDDEN.sub("_", visible(text, "_")).strip(f" {JOINERS}").rstrip(f". {JOINERS}")
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
        yield with_random_suffix(path, upload_id, attempt)


def with_random_suffix(path: str, upload_id: str, attempt: int = 0) -> str:
    """``path`` with a suffix that no other upload has. It follows from the id, but does not reveal it."""
    digest = hashlib.sha256(f"{upload_id} {attempt}".encode()).digest()
    return _with_suffix(path, base64.b32encode(digest)[:_SUFFIX_CHARACTERS].decode().lower())


def _with_suffix(path: str, suffix: str) -> str:
    directory, slash, name = path.rpartition("/")
    stem, extension = split_extension(name)
    return f"{directory}{slash}{stem}-{suffix}{extension}"


def _shortened(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, extension = split_extension(name)
    stem_bytes_max = NAME_BYTES_MAX - len(extension.encode())
    return stem.encode()[:stem_bytes_max].decode("utf-8", "ignore").rstrip(". ") + extension
