"""Derives the entries of the audit log from changes of records. Chunks have none."""

from __future__ import annotations

from tusd_py.access.audit import AuditTrail, actor_of
from tusd_py.model.audit import AuditEntry, AuditKind, AuditOutcome
from tusd_py.model.caller import Caller
from tusd_py.model.upload import Status, Upload

_VERBS = {
    Status.REJECTED: "reject",
    Status.FAILED: "fail",
    Status.EXPIRED: "expire",
    Status.TERMINATED: "terminate",
    Status.MOVED: "move",
}


def audit_entries(
    trail: AuditTrail, before: Upload | None, after: Upload, caller: Caller | None
) -> tuple[AuditEntry, ...]:
    """The entries about a change of a record from ``before`` (``None``: a new record) to ``after``."""
    if before is not None and (
        before.status is after.status and before.completed_at is after.completed_at and before.owner == after.owner
    ):
        return ()
    found: list[AuditEntry] = []
    actor = trail.own_actor if caller is None else actor_of(caller)

    def add(verb: str, outcome: AuditOutcome = AuditOutcome.DONE, reason: str = "") -> None:
        found.append(trail.entry(actor, verb, AuditKind.UPLOAD, after.id, outcome, reason))

    if before is None:
        add("create")
    elif before.owner != after.owner:
        add("claim")
    if after.is_complete and (before is None or not before.is_complete):
        add("finish")
    if after.status in _VERBS and (before is None or before.status is not after.status):
        outcome = AuditOutcome.FAILED if after.status is Status.FAILED else AuditOutcome.DONE
        add(_VERBS[after.status], outcome, after.history[-1].reason if after.history else "")
    return tuple(found)
