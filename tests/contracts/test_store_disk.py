"""The disk store keeps the contract of stores, also on a disk that is really full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from tests.contracts.store import StoreContract
from tests.contracts.store_machine import check_machine
from tusd_py.contracts.store import Store
from tusd_py.storage.disk import DiskStore


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

    def test_machine(self, tmp_path: Path) -> None:
        """Whatever is done to it in whatever order, it agrees with a dictionary of bytes."""
        check_machine(self, tmp_path)


class TestDiskStoreUnderUvloop(TestDiskStore):
    loop_factory = staticmethod(uvloop.new_event_loop)
