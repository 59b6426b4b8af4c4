"""Seals the audit log, prunes it, erases a person from it, and verifies it."""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tusd_py.access.audit import AuditTrail
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.model.audit import SERVER_ACTOR, AuditActor, AuditFilter, AuditKind, RecordedEntry, Seal
from tusd_py.model.audit_chain import START, digest, has_erased, hash_of, root_of

log = logging.getLogger(__name__)

#: The verbs of entries about the audit log itself.
PRUNE, ERASE = "prune", "erase"
_SEALED_AT_ONCE = 500
_PRUNED_AT_ONCE = 50
#: The retention deletes once a day: more than one deletion during a verification is rare.
_READS_MAX = 5
_READ_AT_ONCE = 500
_PSEUDONYM = "erased-"
_ERASED_ENTRIES = re.compile(r"([0-9]{1,18}) entries", re.ASCII)
_RECORDS_OF_ERASURE = 10


async def seal_entries(trail: AuditTrail) -> int:
    """Seal every entry that has no seal, and log the anchor of each seal; return the number of entries."""
    count = 0
    while (made := await trail.log.seal(trail.clock(), trail.seal_key, _SEALED_AT_ONCE)) is not None:
        log.info("audit log sealed", extra={"anchor": anchor(made), "entries": made.count})
        count += made.count
    return count


async def prune_entries(trail: AuditTrail) -> int:
    """Delete the entries older than the retention of the settings, with their seals; return how many."""
    if not trail.keep_seconds:
        return 0
    before = trail.clock() - timedelta(seconds=trail.keep_seconds)
    record = trail.entry(SERVER_ACTOR, PRUNE, AuditKind.AUDIT, "", reason="older than audit.keep_seconds")
    count = 0
    while pruned := await trail.log.prune(before, record, _PRUNED_AT_ONCE):
        count += pruned
    return count


def new_pseudonym() -> str:
    """The name that stands in place of a person who is erased."""
    return f"{_PSEUDONYM}{secrets.token_hex(8)}"


async def erase_person(trail: AuditTrail, subject: str, pseudonym: str, actor: AuditActor) -> None:
    """Replace ``subject`` by ``pseudonym`` in all entries, and remove its addresses.

    The entry about the erasure has the pseudonym only.
    """
    record = trail.entry(actor, ERASE, AuditKind.ACCOUNT, pseudonym)
    await trail.log.erase(subject, pseudonym, record)


def anchor(made: Seal) -> str:
    """The line of the server's log that records the number and the hash of a seal."""
    return f"{made.number}:{made.hash}"


@dataclass(slots=True)
class Verification:
    """The result of verifying the chain; ``problems`` is empty if it is sound."""

    problems: list[str] = field(default_factory=list)
    seals: int = 0
    entries: int = 0
    unsealed: int = 0
    erased: int = 0
    last: Seal | None = None
    pseudonyms: Counter[str] = field(default_factory=Counter)  # of erased fields: how many entries name each
    has_checkpoint: bool = False


async def verify(audit_log: AuditLog, key: bytes = b"", anchors: Mapping[int, str] | None = None) -> Verification:
    """Compare the entries with their seals, the seals with each other, and with ``anchors``: hashes by number.

    If the retention deletes entries during the verification, it is repeated, a few times.
    """
    found = Verification()
    for _ in range(_READS_MAX):
        first = await audit_log.seals(0, 1)
        found = await _verify(audit_log, key, anchors)
        if not found.problems or first == await audit_log.seals(0, 1):
            break
    return found


async def _verify(audit_log: AuditLog, key: bytes, anchors: Mapping[int, str] | None) -> Verification:
    found = Verification()
    reader = _EntryReader(audit_log)
    expected_anchors = dict(anchors or {})
    while seals := await audit_log.seals(0 if found.last is None else found.last.number, _READ_AT_ONCE // 50):
        for each in seals:
            _check_seal(found, each, key)
            known = expected_anchors.pop(each.number, each.hash)
            if known != each.hash:
                found.problems.append(f"seal {each.number} is not the one whose anchor was logged")
            if each.is_checkpoint:
                found.has_checkpoint = True
                await _check_pruning(found, audit_log, each)
            await _check_entries(found, each, reader)
            found.last = each
            found.seals += 1
    while (recorded := await reader.next()) is not None:
        found.unsealed += 1
        await _check_erasure(found, audit_log, recorded)
    await _check_numbers_of_erasures(found, audit_log)
    first_number = 1 if found.last is None else found.last.number - found.seals + 1
    found.problems += [
        f"seal {number}, whose anchor was logged, is missing"
        for number in sorted(expected_anchors)
        if number >= first_number
    ]
    return found


class _EntryReader:
    """Reads all entries in order, one page at a time."""

    def __init__(self, audit_log: AuditLog) -> None:
        self.log = audit_log
        self._page: list[RecordedEntry] = []
        self._place = 0
        self._after = 0

    async def peek(self) -> RecordedEntry | None:
        if self._place == len(self._page):
            self._page = await self.log.page(self._after, _READ_AT_ONCE)
            self._place = 0
        return self._page[self._place] if self._page else None

    async def next(self) -> RecordedEntry | None:
        found = await self.peek()
        if found is not None:
            self._place += 1
            self._after = found.number
        return found


def _check_seal(found: Verification, each: Seal, key: bytes) -> None:
    problems, last = found.problems, found.last
    if last is None:
        if each.number == 1 and each.previous != START:
            problems.append("seal 1 does not begin the chain")
        if each.number != 1 and not each.is_checkpoint:
            problems.append(f"the seals before seal {each.number} are missing, and it is no checkpoint")
    else:
        if each.number != last.number + 1:
            problems.append(f"the seals between {last.number} and {each.number} are missing")
        elif each.previous != last.hash:
            problems.append(f"seal {each.number} does not follow seal {last.number}")
        if each.is_checkpoint:
            problems.append(f"seal {each.number} has no entries but is not the first seal")
    if each.hash != hash_of(each, key):
        problems.append(f"seal {each.number} was changed, or was made with another audit.seal_key")
    if not each.is_checkpoint and (each.root != root_of(each.digests) or each.count != len(each.digests)):
        problems.append(f"the digests of seal {each.number} were changed")


async def _check_pruning(found: Verification, audit_log: AuditLog, checkpoint: Seal) -> None:
    matching = AuditFilter(kind=AuditKind.AUDIT, verb=PRUNE, object_id=str(checkpoint.number))
    if not await audit_log.list_entries(matching, limit=1):
        found.problems.append(f"the entries up to seal {checkpoint.number} are missing: the log records no pruning")


async def _check_entries(found: Verification, each: Seal, reader: _EntryReader) -> None:
    """Compare the entries of one seal with its digests. Entries are read in order, over all seals."""
    if each.is_checkpoint:
        return
    missing = dict(each.digests)
    last = max(missing)
    while (recorded := await reader.peek()) is not None and recorded.number <= last:
        await reader.next()
        found.entries += 1
        expected = missing.pop(recorded.number, None)
        if expected is None:
            found.problems.append(f"entry {recorded.number} was added after it would have been sealed")
        elif not _has_digest(recorded, expected):
            found.problems.append(f"entry {recorded.number} was changed")
        else:
            await _check_erasure(found, reader.log, recorded)
    found.problems += [f"entry {number} was removed" for number in sorted(missing)]


def _has_digest(recorded: RecordedEntry, expected: str) -> bool:
    try:
        return digest(recorded) == expected
    except (ValueError, IndexError):  # the salt is malformed
        return False


async def _check_erasure(found: Verification, audit_log: AuditLog, recorded: RecordedEntry) -> None:
    """Check that an erased field is empty or a pseudonym, and that the log has the erasure of that pseudonym."""
    if not has_erased(recorded.salt):
        return
    found.erased += 1
    entry = recorded.entry
    pseudonyms = {text for text in (entry.subject, entry.object_id) if text.startswith(_PSEUDONYM)}
    for pseudonym in pseudonyms:
        matching = AuditFilter(object_id=pseudonym, verb=ERASE)
        if not await audit_log.list_entries(matching, limit=1):
            found.problems.append(f"entry {recorded.number} names {pseudonym}, whose erasure is not in the log")
    found.pseudonyms.update(pseudonyms)
    if not pseudonyms:
        found.problems.append(f"entry {recorded.number} has an erased field without a pseudonym")


async def _check_numbers_of_erasures(found: Verification, audit_log: AuditLog) -> None:
    """Check that as many entries name a pseudonym as its erasure has changed; fewer if old ones were deleted."""
    for pseudonym, count in sorted(found.pseudonyms.items()):
        records = await audit_log.list_entries(AuditFilter(object_id=pseudonym, verb=ERASE), limit=_RECORDS_OF_ERASURE)
        # Versions before this one recorded no number, and neither does an erasure that was interrupted.
        expected = {int(match[1]) for each in records if (match := _ERASED_ENTRIES.fullmatch(each.entry.reason))}
        if expected and (count > max(expected) or (count < min(expected) and not found.has_checkpoint)):
            found.problems.append(f"{count} entries name {pseudonym}, whose erasure changed {max(expected)}")
