"""The files of tusd's filestore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.imports.test_tusd_info import INFO
from tusd_py.imports.tusd_directory import info_paths, open_files
from tusd_py.imports.tusd_info import INFO_BYTES_MAX, InfoInvalid


def made(directory: Path, name: str, content: bytes | None, **changes: object) -> Path:
    path = directory / f"{name}.info"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({**INFO, "ID": name, "Storage": {}, **changes}))
    if content is not None:
        path.with_name(Path(name).name).write_bytes(content)
    return path


@pytest.mark.anyio
async def test_bytes_are_beside_or_where_the_path_says(tmp_path: Path) -> None:
    """A path of the old place is of no use after a move: the bytes beside the description are taken."""
    moved = made(tmp_path, "a1", b"abc", Storage={"Path": "/nowhere/a1"})
    elsewhere = made(tmp_path, "a2", None, Storage={"Path": "sub/b.bin"})
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(b"12345")
    found = [open_files(tmp_path, path) for path in info_paths(tmp_path)]
    assert [moved, elsewhere] == [files.info_path for files in found]
    assert [3, 5] == [files.stored_bytes for files in found]
    assert b"12345" == b"".join([piece async for piece in found[1].read()])
    await found[1].remove()
    assert ["a1", "a1.info", "sub"] == sorted(path.name for path in tmp_path.iterdir())
    assert not list((tmp_path / "sub").iterdir())


def test_missing_bytes_and_huge_descriptions_are_refused(tmp_path: Path) -> None:
    """A hook may have moved the bytes; a directory is no upload."""
    with pytest.raises(InfoInvalid, match="its bytes are not there"):
        open_files(tmp_path, made(tmp_path, "gone", None))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InfoInvalid, match="its bytes are not there"):
        open_files(tmp_path, made(tmp_path, "folder", None))
    huge = tmp_path / "huge.info"
    huge.write_bytes(b" " * (INFO_BYTES_MAX + 1))
    with pytest.raises(InfoInvalid, match="too large"):
        open_files(tmp_path, huge)
    with pytest.raises(InfoInvalid, match="cannot be read"):
        open_files(tmp_path, tmp_path / "none.info")
