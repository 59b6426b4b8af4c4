"""The contract of links. A new link is saved with its upload (``Effects``), or alone if the upload exists.

``audit`` is written with a change, if anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.model.audit import AuditEntry
from tusd_py.model.links import Link, LinkKind


class Links(Protocol):
    """Keeps links. Every change is one statement that names the state it expects."""

    async def add(self, link: Link, audit: Sequence[AuditEntry] = ()) -> None:
        """Keep a new link."""
        ...

    async def find(self, link_id: str) -> Link | None:
        """The link with this id."""
        ...

    async def list_links(self, kind: LinkKind, *, owner: str = "", before_id: str = "", limit: int) -> list[Link]:
        """Links of this kind and, if given, of ``owner``, newest first, those after ``before_id`` in this order."""
        ...

    async def revoke(self, link_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """Revoke the link; False if there is none or it is revoked already."""
        ...

    async def claim_use(self, link_id: str, claim: str, now: datetime, until: datetime, sent_max: int) -> bool:
        """Begin or go on with the use of a link for a single use; False if it is used or another use is running.

        Also False if its uses before have sent more than ``sent_max`` bytes. A claim that its process has not renewed
        ends at ``until``.
        """
        ...

    async def release_use(self, link_id: str, claim: str, bytes_sent: int, bytes_max: int, now: datetime) -> None:
        """End the use of a link that has sent ``bytes_sent``; it is used up if that makes ``bytes_max`` in all."""
        ...

    async def ended(self, now: datetime, limit: int) -> list[Link]:
        """Links that have ended and whose work after the end (``settle``) is not done."""
        ...

    async def settle(self, link_id: str, now: datetime) -> None:
        """Record that the work after the end of the link is done."""
        ...

    async def prune(self, before: datetime, limit: int) -> int:
        """Forget links that were settled before this time; return how many."""
        ...
