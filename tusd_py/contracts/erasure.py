"""The contract of erasure: deletes or replaces what is recorded about an owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How many rows were erased. ``events_left`` are those that receivers of webhooks have not got yet."""

    uploads: int
    events: int
    events_left: int


class PersonalData(Protocol):
    """Finds and erases what is recorded about an owner, apart from the audit log."""

    async def delete_credentials(self, owner: str) -> tuple[bool, int]:
        """Delete the account and the keys; whether there was an account, and how many keys."""
        ...

    async def living_uploads(self, owner: str, *, after_id: str, limit: int) -> list[str]:
        """The ids of uploads of ``owner`` that have not ended, in order."""
        ...

    async def erase(self, owner: str, pseudonym: str) -> Erased:
        """Replace ``owner`` by ``pseudonym`` in records and quotas, and delete the rest.

        The rest is metadata, limits, links, codes and events. Of uploads that have not ended, and of events that are
        still to be delivered, nothing is erased.
        """
        ...
