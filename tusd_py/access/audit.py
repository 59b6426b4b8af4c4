"""Creates the entries of the audit log, and writes those that belong to no change of a record."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tusd_py.access.bounded_cache import BoundedCache
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.records import RecordsError
from tusd_py.logs import Outages, printable, shortened
from tusd_py.model.audit import SERVER_ACTOR, AuditActor, AuditEntry, AuditKind, AuditOutcome
from tusd_py.model.caller import Caller

log = logging.getLogger(__name__)

Addresses = Literal["full", "network", "none"]

_TEXT_MAX = 500
#: Entries that may wait to be written; more are dropped and counted.
_WAITING_MAX = 10_000
_WRITTEN_AT_ONCE = 500
_WRITE_SECONDS = 1.0
#: The most clients whose refusals are counted; the one that was refused least recently is evicted first.
_CLIENTS_MAX = 10_000
_WINDOW_SECONDS = 60.0
#: Ids of uploads, links, codes, keys and sessions. An access code itself is shorter.
_GIVEN_ID = re.compile(r"[0-9a-f]{16,32}", re.ASCII)


@dataclass(slots=True)
class _Refusals:
    """The refusals of one client in the current window, and how many of them were not recorded."""

    begun_at: datetime
    count: int = 0
    unrecorded: int = 0


@dataclass(slots=True, kw_only=True)
class AuditTrail:
    """Records acts in ``log``. It exists only while the audit log is on.

    An act that changes something is recorded before its client gets an answer: ``entry`` makes an entry for the
    transaction of the change (``Effects.audit``), ``record`` appends one at once. What changes nothing (refusals,
    downloads) waits up to a second in memory and is lost if the process is killed.

    Of each address at most ``refusals_per_minute`` refusals are recorded in a minute, of all together ten times as many
    per address as that: a hostile client cannot fill the disk.
    """

    log: AuditLog
    clock: Callable[[], datetime]
    own_actor: AuditActor = SERVER_ACTOR  # of changes that no request causes
    addresses: Addresses = "full"
    records_downloads: bool = False
    refusals_per_minute: int = 10
    seal_key: bytes = b""
    keep_seconds: float = 0.0  # 0 keeps all entries
    on_dropped: Callable[[int], None] = field(default=lambda _count: None)
    _waiting: list[AuditEntry] = field(default_factory=list)
    _refusals: BoundedCache[str, _Refusals] = field(default_factory=lambda: BoundedCache(_CLIENTS_MAX))
    _all_refusals: _Refusals | None = None
    _writing: asyncio.Task[None] | None = None
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _outages: Outages = field(default_factory=lambda: Outages("audit entries could not be written, retrying"))

    def entry(
        self,
        actor: AuditActor,
        verb: str,
        kind: AuditKind,
        object_id: str,
        outcome: AuditOutcome = AuditOutcome.DONE,
        reason: str = "",
    ) -> AuditEntry:
        """An entry with the present time, texts of bounded length, and the address as ``address`` returns it."""
        return AuditEntry(
            at=self.clock(),
            subject=_bounded(actor.subject),
            method=_bounded(actor.method),
            verb=verb,
            kind=kind,
            object_id=_bounded(object_id),
            outcome=outcome,
            address=self.address(actor.address),
            reason=_bounded(reason),
        )

    def record_refusal(self, actor: AuditActor, verb: str, kind: AuditKind, object_id: str, reason: str) -> None:
        """Record a refused request soon, unless its client was refused too often in this minute."""
        client = self._refusals_of(actor.address)
        total = self._all_refusals = self._window(self._all_refusals)
        if client.count >= self.refusals_per_minute or total.count >= 10 * self.refusals_per_minute:
            client.unrecorded += 1
            self.on_dropped(1)
            return
        client.count += 1
        total.count += 1
        if client.unrecorded:
            reason = f"{reason} (and {client.unrecorded} more that were not recorded)"
            client.unrecorded = 0
        self.record_later(self.entry(actor, verb, kind, object_id, AuditOutcome.REFUSED, reason))

    def record_later(self, entry: AuditEntry) -> None:
        """Append an entry within about a second, without waiting for it."""
        if len(self._waiting) >= _WAITING_MAX:
            self.on_dropped(1)
            return
        self._waiting.append(entry)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write the waiting entries. Those that the database refuses are lost, and logged."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    def address(self, address: str) -> str:
        """The address in the form that the settings ask for."""
        if self.addresses == "none":
            return ""
        return shortened(address) if self.addresses == "network" and address else address

    async def _write(self) -> None:
        """Write the waiting entries once a second until none is left; retry those that the database refuses."""
        while self._waiting:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                pass
            some: list[AuditEntry] = []
            try:
                while self._waiting:
                    some = self._waiting[:_WRITTEN_AT_ONCE]
                    await self.log.append(some)
                    del self._waiting[: len(some)]
            except RecordsError as error:
                self._outages.failed(log, "audit log", str(error))
                if self._closing.is_set():
                    log.warning("audit entries are lost", extra={"entries": len(self._waiting)})
                    break
            except Exception:
                # The outermost handler of this task: a defect in one entry must not end the log of all others.
                log.exception("audit entries are lost", extra={"entries": len(some)})
                self.on_dropped(len(some))
                del self._waiting[: len(some)]
            else:
                self._outages.succeeded(log, "audit log")
        self._writing = None

    def _refusals_of(self, address: str) -> _Refusals:
        found = self._window(self._refusals.get(address))
        self._refusals.remember(address, found)
        return found

    def _window(self, found: _Refusals | None) -> _Refusals:
        now = self.clock()
        if found is None:
            return _Refusals(now)
        if (now - found.begun_at).total_seconds() >= _WINDOW_SECONDS:
            return _Refusals(now, unrecorded=found.unrecorded)
        return found


def requested_id(text: str) -> str:
    """The id in a refused request, for the audit log: empty unless it has the form of an id that this server gives.

    A client can put anything there, also a secret or the name of a person.
    """
    return text if _GIVEN_ID.fullmatch(text) else ""


def actor_of(caller: Caller) -> AuditActor:
    """The actor of a request, for the audit log."""
    address = caller.client or _without_port(caller.remote_address)
    if caller.principal is None:
        # Without access control a hook may name an owner.
        return AuditActor(caller.owner, "hook" if caller.owner else "anonymous", address)
    return AuditActor.of(caller.principal, address)


async def record(trail: AuditTrail | None, actor: AuditActor, verb: str, kind: AuditKind, object_id: str) -> None:
    """Record an act if the audit log is on; for acts whose contract takes no entries.

    Returns when the entry is durable. Raises ``RecordsUnavailable``.
    """
    if trail is not None:
        await trail.log.append(entries(trail, actor, verb, kind, object_id))


def entries(
    trail: AuditTrail | None, actor: AuditActor, verb: str, kind: AuditKind, object_id: str, reason: str = ""
) -> tuple[AuditEntry, ...]:
    """The entry for the transaction of an act, if the audit log is on."""
    return () if trail is None else (trail.entry(actor, verb, kind, object_id, reason=reason),)


def _without_port(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _bounded(text: str) -> str:
    """The text with control characters escaped: neither database takes all of them."""
    if len(text) <= _TEXT_MAX and text.isprintable():
        return text
    return printable(text[:_TEXT_MAX])
