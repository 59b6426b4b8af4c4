"""The directory of tusd's filestore: ``<id>`` with the bytes and ``<id>.info`` beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiofiles

from tusd_py.imports.tusd_info import INFO_BYTES_MAX, InfoInvalid, TusdInfo, parse_info
from tusd_py.model.frozen import frozen

_PIECE_BYTES = 1024 * 1024
_SUFFIX = ".info"


@frozen()
class TusdFiles:
    """The two files of one upload. ``stored_bytes`` is the size of ``content``, ``written_at`` its last change."""

    info: TusdInfo
    info_path: Path
    content: Path
    stored_bytes: int
    written_at: datetime

    async def read(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces of at most 1 MiB. Raises ``OSError``."""
        async with aiofiles.open(self.content, "rb") as file:
            while piece := await file.read(_PIECE_BYTES):
                yield piece

    async def remove(self) -> None:
        """Delete both files. Raises ``OSError``."""
        self.content.unlink()
        self.info_path.unlink()


@frozen()
class TusdDirectory:
    """tusd's ``-upload-dir``."""

    path: Path

    async def uploads(self) -> AsyncIterator[tuple[str, TusdFiles | InfoInvalid]]:
        """Each upload with the name of its ``.info`` file, or why it cannot be taken over."""
        for info_path in info_paths(self.path):
            try:
                found: TusdFiles | InfoInvalid = open_files(self.path, info_path)
            except InfoInvalid as invalid:
                found = invalid
            yield info_path.name.removesuffix(_SUFFIX), found

    async def close(self) -> None:
        """Nothing is open."""


def info_paths(directory: Path) -> Iterator[Path]:
    """The ``.info`` files of all uploads, also in subdirectories, where tusd keeps ids with a slash. Blocks."""
    for folder, names, files in os.walk(directory):
        names.sort()
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(_SUFFIX))


def open_files(directory: Path, info_path: Path) -> TusdFiles:
    """The upload that ``info_path`` describes. Blocks; raises ``InfoInvalid``, also if its bytes are not there.

    The bytes are where ``Storage.Path`` says. If that is not there, because the directory was moved or copied, they are
    beside ``info_path``.
    """
    try:
        with info_path.open("rb") as file:
            text = file.read(INFO_BYTES_MAX + 1)
    except OSError as error:
        raise InfoInvalid(f"{info_path} cannot be read: {error.strerror}") from None
    if len(text) > INFO_BYTES_MAX:
        raise InfoInvalid(f"{info_path} is too large for an .info file")
    info = parse_info(text)
    beside = info_path.with_name(info_path.name.removesuffix(_SUFFIX))
    for path in (directory / info.path, beside) if info.path else (beside,):
        try:
            found = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            written_at = datetime.fromtimestamp(found.st_mtime, UTC)
            return TusdFiles(info, info_path, path, found.st_size, written_at)
    raise InfoInvalid(f"its bytes are not there: {info.path or beside}")
