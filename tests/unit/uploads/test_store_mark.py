"""A store that is not the one of the records is refused before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tusd_py.contracts.store_marks import ForeignStore
from tusd_py.uploads.store_mark import adopt_store, verify_store


class MarksInMemory:
    """``StoreMarks`` in memory."""

    def __init__(self, mark: str = "", *, has_bytes: bool = False) -> None:
        self.mark = mark
        self._has_bytes = has_bytes

    async def find(self) -> str:
        return self.mark

    async def find_or_add(self, mark: str) -> str:
        self.mark = self.mark or mark
        return self.mark

    async def replace(self, mark: str) -> None:
        self.mark = mark

    async def has_bytes(self) -> bool:
        return self._has_bytes


class MarkOnly:
    """A store that keeps nothing but its mark."""

    def __init__(self, mark: str = "", later: str = "") -> None:
        self.mark = mark
        self._later = later

    async def read_mark(self) -> str:
        found, self.mark = self.mark, self._later or self.mark
        return found

    async def write_mark(self, mark: str) -> None:
        self.mark = mark

    def guard(self, verify: Callable[[], Awaitable[str]]) -> None:
        raise AssertionError("not a part of this test")


def verify(store: MarkOnly, marks: MarksInMemory, *, bucket: bool = False, server: bool = False) -> str:
    """Verify the store: a bucket or a directory, with a database server or SQLite."""
    return asyncio.run(
        verify_store(store, marks, "the store", is_store_shared=bucket, is_database_shared=server, wait_seconds=0.1)
    )


@pytest.mark.parametrize("has_bytes", [False, True])
def test_first_use_marks_both(has_bytes: bool) -> None:
    """A new installation, and one of a version without marks, get the same mark in both, and are accepted then."""
    store, marks = MarkOnly(), MarksInMemory(has_bytes=has_bytes)
    mark = verify(store, marks, bucket=True, server=True)
    assert mark == store.mark == marks.mark != ""
    assert mark == verify(store, marks, bucket=True, server=True)


def test_another_process_marks_at_the_same_time() -> None:
    """A mark that the database has and the store gets a moment later is no difference."""
    assert "m" == verify(MarkOnly("", later="m"), MarksInMemory("m", has_bytes=True), bucket=True, server=True)


@pytest.mark.parametrize("found", ["", "other"])
def test_store_without_the_known_mark_is_refused(found: str) -> None:
    """A volume that is not mounted, another bucket: refused, and nothing is written."""
    store, marks = MarkOnly(found), MarksInMemory("m", has_bytes=True)
    with pytest.raises(ForeignStore, match="the store"):
        verify(store, marks)
    assert (found, "m") == (store.mark, marks.mark)


def test_second_machine_with_a_directory_of_its_own_is_refused() -> None:
    """With a database server the first store counts, even before the first upload."""
    with pytest.raises(ForeignStore):
        verify(MarkOnly(), MarksInMemory("m"), server=True)


def test_place_changed_before_the_first_upload() -> None:
    """With SQLite, which has one machine, another empty store is accepted while no byte is recorded."""
    store = MarkOnly()
    assert "m" == verify(store, MarksInMemory("m"), bucket=True) == store.mark


def test_bucket_of_another_database_is_refused() -> None:
    """Maintenance would remove everything in it. With bytes of its own the database is an old backup: accepted."""
    with pytest.raises(ForeignStore, match="another database"):
        verify(MarkOnly("m"), MarksInMemory(), bucket=True, server=True)
    marks = MarksInMemory(has_bytes=True)
    assert "m" == verify(MarkOnly("m"), marks, bucket=True, server=True) == marks.mark


@pytest.mark.parametrize("bucket", [False, True])
def test_store_of_a_removed_database_is_accepted(bucket: bool) -> None:
    """Operators remove the file of a trial and keep the directory or the bucket."""
    marks = MarksInMemory()
    assert "m" == verify(MarkOnly("m"), marks, bucket=bucket) == marks.mark


def test_adopted_store_is_accepted_and_the_earlier_one_refused() -> None:
    """After ``adopt_store`` the records belong to that store."""
    earlier, store, marks = MarkOnly("m"), MarkOnly("n"), MarksInMemory("m", has_bytes=True)
    asyncio.run(adopt_store(store, marks))
    assert store.mark == verify(store, marks)
    with pytest.raises(ForeignStore):
        verify(earlier, marks)
