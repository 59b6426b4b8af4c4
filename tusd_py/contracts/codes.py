"""The contract of access codes. What is uploaded with a code is counted with the record of the upload (``Effects``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tusd_py.contracts.records import RecordsError
from tusd_py.model.audit import AuditEntry
from tusd_py.model.codes import AccessCode, Redemption
from tusd_py.model.jobs import NO_EFFECTS, Effects


class CodeExhausted(RecordsError):
    """The code has ended, or allows no further file or bytes; nothing was changed. ``code`` is its state then."""

    code: AccessCode | None = None


class AccessCodes(Protocol):
    """Keeps codes, and counts wrong guesses for all processes together."""

    async def add(self, code: AccessCode, digest: str, audit: Sequence[AuditEntry] = ()) -> bool:
        """Keep a new code; False if one with this digest is kept already."""
        ...

    async def find(self, code_id: str) -> AccessCode | None:
        """The code with this id."""
        ...

    async def list_codes(self, *, owner: str = "", before_id: str = "", limit: int) -> list[AccessCode]:
        """Codes, if given of ``owner``, newest first, those after ``before_id`` in this order."""
        ...

    async def redeem(self, digests: Sequence[str], address: str, now: datetime) -> Redemption:
        """The active code with one of ``digests``, unless ``address`` must wait; counts a wrong guess.

        All in one transaction, so that attempts made together count as if made one after the other.
        """
        ...

    async def extend(
        self, code_id: str, seconds: float, now: datetime, latest: datetime, audit: Sequence[AuditEntry] = ()
    ) -> bool:
        """Move the end of an active code by ``seconds``, at most to ``latest``; False if the code has ended."""
        ...

    async def terminate(self, code_id: str, now: datetime, audit: Sequence[AuditEntry] = ()) -> bool:
        """End an active code; False if it has ended."""
        ...

    async def expiring(self, now: datetime, until: datetime, limit: int) -> list[AccessCode]:
        """Active codes that end before ``until`` and whose end was not announced."""
        ...

    async def note_warning(
        self, code_id: str, expires_at: datetime, now: datetime, effects: Effects = NO_EFFECTS
    ) -> bool:
        """Note that the end of the code at ``expires_at`` is announced, by ``effects`` in the same transaction.

        False if another process has done so, or if the end has moved; then nothing has changed.
        """
        ...

    async def find_uploads(self, grant: str, after_id: str, limit: int) -> list[str]:
        """The ids of unfinished uploads made with ``grant``, in order, those after ``after_id``."""
        ...

    async def prune(self, before: datetime, limit: int) -> int:
        """Forget codes that ended before this time, and guesses that no longer count; return how many codes."""
        ...
