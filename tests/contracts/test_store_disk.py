"""The disk store fulfils the contract of stores, also on a disk that is really full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from tests.contracts.store import StoreContract, an_upload, append
from tests.contracts.store_machine import check_machine
from tusd_py.contracts.store import PATH, Store
from tusd_py.model.upload import Upload
from tusd_py.storage.disk.custom_path import CustomPath
from tusd_py.storage.disk.directory import UploadDirectory
from tusd_py.storage.disk.store import DiskStore


@contextmanager
def small_disk(directory: Path, room_bytes: int) -> Iterator[Path]:
    """A file system in memory with so much room, mounted under ``directory``."""
    mounted = directory / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={room_bytes}", "tmpfs", str(mounted)]
    if os.geteuid() != 0:
        pytest.skip("a small disk to fill can only be mounted as root")
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no small disk can be mounted here: {mount.stderr}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


class TestDiskStore(StoreContract):
    directory: Path

    def open(self, directory: Path) -> DiskStore:
        self.directory = directory
        return DiskStore(directory)

    def beneath(self, store: Store, upload_id: str) -> bytes | None:
        path = self.directory / upload_id
        return path.read_bytes() if path.exists() else None

    def put_beneath(self, store: Store, upload_id: str, stored: bytes) -> None:
        (self.directory / upload_id).write_bytes(stored)

    @contextmanager
    def small(self, directory: Path, room_bytes: int) -> Iterator[Store]:
        with small_disk(directory, room_bytes) as mounted:
            yield self.open(mounted)

    @pytest.mark.anyio
    async def test_location_is_an_absolute_path_named_by_the_id(self, tmp_path: Path) -> None:
        """An absolute path, named by the id."""
        store = self.open(tmp_path / "bytes")
        upload = await append(store, an_upload(), [b"x"])
        location = store.location(upload)
        assert Path(location["Path"]).is_absolute() and Path(location["Path"]).read_bytes() == b"x"
        assert location == {"Type": "filestore", "Path": location["Path"], "InfoPath": location["Path"] + ".info"}
        await store.close()

    def test_any_sequence_of_operations_agrees_with_a_dictionary(self, tmp_path: Path) -> None:
        """Any sequence of operations agrees with a dictionary of bytes."""
        check_machine(self, tmp_path)


class TestDiskStoreUnderUvloop(TestDiskStore):
    loop_factory = staticmethod(uvloop.new_event_loop)

    @pytest.fixture
    def anyio_backend(self) -> object:
        return ("asyncio", {"use_uvloop": True})


class StoreOfCustomPaths(DiskStore):
    """A store in which a hook chose a path for every upload."""

    def _location_of(self, upload: Upload) -> CustomPath:
        return CustomPath(self._directory, path_of(upload.id))


def path_of(upload_id: str) -> str:
    return f"by hand/{upload_id}/ä.bin"


class TestDiskStoreAtCustomPaths(TestDiskStore):
    def open(self, directory: Path) -> DiskStore:
        self.directory = directory
        return StoreOfCustomPaths(directory)

    def beneath(self, store: Store, upload_id: str) -> bytes | None:
        return super().beneath(store, path_of(upload_id))

    def put_beneath(self, store: Store, upload_id: str, stored: bytes) -> None:
        directory = UploadDirectory(self.directory, 0o640)
        os.close(CustomPath(directory, path_of(upload_id)).open_for_writing(upload_id, 0)[0])
        directory.close()
        super().put_beneath(store, path_of(upload_id), stored)

    @pytest.mark.anyio
    async def test_stores_nothing_before_the_first_byte(self, tmp_path: Path) -> None:
        """``create`` makes an empty file to keep the path; deleting removes it."""
        store = self.open(tmp_path / "bytes")
        await store.create(an_upload())
        assert self.beneath(store, "an-upload") == b""
        assert await store.size(an_upload()) == 0
        await store.delete(an_upload())
        assert self.beneath(store, "an-upload") is None
        await store.close()

    @pytest.mark.anyio
    async def test_location_is_an_absolute_path_named_by_the_id(self, tmp_path: Path) -> None:
        """Here it is the path that the record names."""
        store = DiskStore(tmp_path / "bytes")
        upload = replace(an_upload(), storage={PATH: "p/x.pdf"})
        upload = await append(store, replace(upload, storage=await store.create(upload)), [b"x"])
        assert store.location(upload)["Path"] == str(tmp_path / "bytes" / "p" / "x.pdf")
        assert (tmp_path / "bytes" / "p" / "x.pdf").read_bytes() == b"x"
        await store.close()
