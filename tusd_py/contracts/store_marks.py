"""The contracts of store marks: by a mark, the database and the store that belong together know each other again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tusd_py.contracts.store import StoreUnavailable


class ForeignStore(StoreUnavailable):
    """The store and the records do not belong together. Nothing was changed."""


class StoreMarks(Protocol):
    """Keeps, beside the records, the mark of the store that has their bytes."""

    async def find(self) -> str:
        """The mark; empty if there is none yet. Raises ``RecordsUnavailable``."""
        ...

    async def find_or_add(self, mark: str) -> str:
        """The mark; ``mark`` if there was none. Of several processes that add one, one succeeds."""
        ...

    async def replace(self, mark: str) -> None:
        """Keep ``mark`` in place of any other one."""
        ...

    async def has_bytes(self) -> bool:
        """Whether any record says that bytes are stored."""
        ...


class MarkedStore(Protocol):
    """A store that can keep a mark beside the bytes. Copies and backups of the whole store have it too."""

    async def read_mark(self) -> str:
        """The mark; empty if there is none. Raises ``StoreUnavailable``."""
        ...

    async def write_mark(self, mark: str) -> None:
        """Keep ``mark`` in place of any other one. Raises ``StoreUnavailable`` or ``StoreFull``."""
        ...

    def guard(self, verify: Callable[[], Awaitable[str]]) -> None:
        """Call ``verify``, which returns the mark, before the first operation if that is possible without cost.

        ``probe`` calls it too, if the mark is another one by then. What it raises is that of the operation, and the
        next one calls it again.
        """
        ...
