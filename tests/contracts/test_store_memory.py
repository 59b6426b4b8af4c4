"""The memory store fulfils the contract of stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contracts.store import MIB, StoreContract
from tests.contracts.store_machine import check_machine
from tusd_py.contracts.store import Store
from tusd_py.storage.memory import MemoryStore


class TestMemoryStore(StoreContract):
    def open(self, directory: Path) -> MemoryStore:
        return MemoryStore(bytes_max=256 * MIB)

    def reopen(self, store: Store, directory: Path) -> Store:
        return store

    def beneath(self, store: Store, upload_id: str) -> bytes | None:
        assert isinstance(store, MemoryStore)
        stored = store.uploads.get(upload_id)
        return None if stored is None else bytes(stored)

    def put_beneath(self, store: Store, upload_id: str, stored: bytes) -> None:
        assert isinstance(store, MemoryStore)
        store.uploads[upload_id] = bytearray(stored)

    @contextmanager
    def small(self, directory: Path, room_bytes: int) -> Iterator[Store]:
        yield MemoryStore(bytes_max=room_bytes)

    def test_any_sequence_of_operations_agrees_with_a_dictionary(self, tmp_path: Path) -> None:
        """Any sequence of operations agrees with a dictionary of bytes."""
        check_machine(self, tmp_path)
