"""Reading a file in pieces: several in one hop to a thread for a fast client, one for a slow one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tusd_py.storage.disk import reader
from tusd_py.storage.disk.directory import UploadDirectory
from tusd_py.storage.disk.reader import PIECES_AHEAD, DiskContent
from tusd_py.threads import ThreadPool

pytestmark = pytest.mark.anyio

ID = "a" * 32
CONTENT = bytes(range(256)) * 4


class CountedThreads(ThreadPool):
    """Counts the hops."""

    hops = 0

    def submit(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        self.hops += 1
        return super().submit(work, *args, **kwargs)


@pytest.fixture
def threads() -> CountedThreads:
    return CountedThreads(1, "test")


def content_of(folder: Path, threads: ThreadPool, start: int = 0) -> DiskContent:
    directory = UploadDirectory(folder, 0o600)
    (folder / ID).write_bytes(CONTENT)
    return DiskContent(directory, ID, start, len(CONTENT), threads, threads)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "READ_BYTES", 100)
    monkeypatch.setattr(reader, "FIRST_BYTES", 50)
    monkeypatch.setattr(reader, "FAST_PIECES", 1)


async def test_fast_client_gets_several_pieces_in_one_hop(
    tmp_path: Path, threads: CountedThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hop reads one piece; all bytes arrive in order, also from the middle of the file."""
    monkeypatch.setattr(reader, "FAST_SECONDS", 60.0)
    for start in (0, 450):
        threads.hops = 0
        pieces = [piece async for piece in content_of(tmp_path, threads, start)]
        assert CONTENT[start:] == b"".join(pieces)
        assert 1 + -(-(len(pieces) - 1) // PIECES_AHEAD) == threads.hops
    await threads.close()


async def test_client_is_fast_after_many_pieces(
    tmp_path: Path, threads: CountedThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes the first pieces of a client that reads nothing: they do not make it fast."""
    monkeypatch.setattr(reader, "FAST_SECONDS", 60.0)
    monkeypatch.setattr(reader, "FAST_PIECES", 4)
    pieces = [piece async for piece in content_of(tmp_path, threads)]
    assert CONTENT == b"".join(pieces)
    assert 4 + -(-(len(pieces) - 4) // PIECES_AHEAD) == threads.hops
    await threads.close()


async def test_small_content_is_one_piece(tmp_path: Path, threads: CountedThreads) -> None:
    """What fits into one piece is read at once."""
    pieces = [piece async for piece in content_of(tmp_path, threads, len(CONTENT) - 100)]
    assert [CONTENT[-100:]] == pieces
    await threads.close()


async def test_slow_client_keeps_one_piece_in_memory(
    tmp_path: Path, threads: CountedThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is a hop, and what a closed download has read ahead is gone."""
    monkeypatch.setattr(reader, "FAST_SECONDS", 0.0)
    pieces = [piece async for piece in content_of(tmp_path, threads)]
    assert CONTENT == b"".join(pieces)
    assert len(pieces) == threads.hops
    monkeypatch.setattr(reader, "FAST_SECONDS", 60.0)
    content = content_of(tmp_path, threads)
    for _ in range(2):
        await anext(content)
    await content.aclose()
    assert [] == [piece async for piece in content]
    await threads.close()
