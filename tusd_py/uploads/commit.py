"""Saves changes of records together with their effects: the events that a change means, and the jobs they need.

Every use case saves through here, so that no event is forgotten and none is emitted for a change that was not saved.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tusd_py.access.grants import code_charge, code_refusal, part_uses_max
from tusd_py.contracts.codes import CodeExhausted
from tusd_py.contracts.records import PartOverused, QuotaExhausted
from tusd_py.model.caller import Caller
from tusd_py.model.codes import AccessCode
from tusd_py.model.event_derivation import derive_events
from tusd_py.model.events import Event, EventType
from tusd_py.model.frozen import frozen
from tusd_py.model.jobs import NO_EFFECTS, Effects, Job, NewJob
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.concat_errors import PartUsedTooOften
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.upload_audit import audit_entries
from tusd_py.uploads.upload_log import client_of, log_change, log_creation


@frozen()
class Cause:
    """Why a record changes: the request or the job behind the change, and how it counts as progress."""

    caller: Caller | None = None
    completed_job: Job | None = None  # the job whose effect the change is; it ends in the same transaction
    reports_progress: bool = True  # whether bytes saved by this change emit post-receive
    durable: bool = False  # the change must survive a loss of power before what follows from it is done
    owes_progress_report: bool = False  # emit post-receive for an earlier save even if this one brings no bytes


NO_CAUSE = Cause()


async def insert(ports: Ports, upload: Upload, cause: Cause = NO_CAUSE) -> None:
    """Record a new upload with its effects. Raises ``RecordExists``, ``PartUsedTooOften``, ``QuotaReached``,
    ``CodeEnded`` or ``CodeLimitReached``.
    """
    effects = effects_of(ports, None, upload, cause)
    uses_max = part_uses_max(ports.policy.limits.part_uses_max, upload) if upload.parts else 0
    try:
        await ports.records.insert(upload, effects, part_uses_max=uses_max)
    except QuotaExhausted as failure:
        raise _quota_reached(ports, upload, failure) from None
    except CodeExhausted as failure:
        raise code_refusal(failure.code, upload.created_at) from None
    except PartOverused:
        raise PartUsedTooOften(uses_max) from None
    log_creation(upload, client_of(cause.caller))


async def update(ports: Ports, before: Upload, after: Upload, cause: Cause = NO_CAUSE) -> Upload:
    """Save ``after`` over ``before`` with its effects and return it with its new token.

    Raises ``RecordConflict``, ``LeaseLost``, ``QuotaReached`` or ``CodeLimitReached``; then nothing has changed.
    """
    try:
        saved = await ports.records.update(before, after, effects_of(ports, before, after, cause))
    except QuotaExhausted as failure:
        raise _quota_reached(ports, after, failure) from None
    except CodeExhausted as failure:
        raise code_refusal(failure.code, after.updated_at) from None
    log_change(before, saved, client_of(cause.caller))
    return saved


def _quota_reached(ports: Ports, upload: Upload, failure: QuotaExhausted) -> QuotaReached:
    assert ports.quotas is not None and failure.exhausted is not None, "a charge was refused"
    return ports.quotas.refusal(failure.exhausted, upload.created_at)


def step_job(upload: Upload, step: str) -> NewJob:
    """The job that runs ``step`` for ``upload``. The steps of one upload run one after the other.

    A hook may choose an id again after its upload has ended: the key contains the time of the creation, so that the
    jobs of the earlier upload, which are kept for days, are not taken for those of this one.
    """
    key = f"{upload.id} {step} {upload.created_at.isoformat()}"
    return NewJob(actor=step, key=key, upload_id=upload.id, sequence_key=f"{upload.id} steps")


def effects_of(ports: Ports, before: Upload | None, after: Upload, cause: Cause = NO_CAUSE) -> Effects:
    """The effects of a change, recorded with it: events and jobs, charges to a quota, entries of the audit log."""
    events = tuple(_events(ports, before, after, cause)) if ports.policy.subscriptions else ()
    jobs = [job for event in events for job in _delivery_jobs(ports, event)]
    if after.pending_steps and (before is None or before.pending_steps[:1] != after.pending_steps[:1]):
        jobs.append(step_job(after, after.pending_steps[0]))
    quota = None if ports.quotas is None else ports.quotas.charge(before, after, cause.caller)
    audit = () if ports.audit is None else audit_entries(ports.audit, before, after, cause.caller)
    code = code_charge(before, after) if after.grant else None
    link = None if before is not None or cause.caller is None else cause.caller.new_link
    completed = cause.completed_job
    if not (events or jobs or completed or quota or audit or code or link or cause.durable):
        return NO_EFFECTS
    return Effects(
        events=events,
        jobs=tuple(jobs),
        completed_job=completed,
        quota=quota,
        audit=audit,
        code=code,
        link=link and replace(link, upload_id=after.id),  # a hook may have chosen the id
        durable=cause.durable,
    )


def _events(ports: Ports, before: Upload | None, after: Upload, cause: Cause) -> Iterable[Event]:
    types = derive_events(before, after)
    # Events stay in the database for days, so passwords must not be in them.
    caller = None if cause.caller is None else cause.caller.recorded(ports.policy.forwarded_headers)
    if cause.owes_progress_report and EventType.POST_RECEIVE not in types:
        types = (EventType.POST_RECEIVE, *types)
    for kind in types:
        if kind is EventType.POST_RECEIVE and not cause.reports_progress:
            continue
        if any(kind in subscription.types for subscription in ports.policy.subscriptions):
            at = after.updated_at
            yield Event(id=_event_id(at), type=kind, at=at, upload=after, caller=caller)


def code_event_effects(ports: Ports, code: AccessCode, kind: EventType, at: datetime) -> Effects:
    """The event about ``code`` and its jobs, to be saved with the change of the code."""
    if not any(kind in subscription.types for subscription in ports.policy.subscriptions):
        return NO_EFFECTS
    event = Event(id=_event_id(at), type=kind, at=at, upload=None, code=code)
    return Effects(events=(event,), jobs=tuple(_delivery_jobs(ports, event)))


def _delivery_jobs(ports: Ports, event: Event) -> Iterable[NewJob]:
    about = event.upload_id or (event.code.grant if event.code is not None else "")
    for subscription in ports.policy.subscriptions:
        if subscription.actor and event.type in subscription.types:
            yield NewJob(
                actor=subscription.actor,
                subscription=subscription.name,
                key=f"{event.id} {subscription.name}",
                sequence_key=f"{about} {subscription.name}",
                upload_id=event.upload_id,
                event_id=event.id,
                is_progress=event.type is EventType.POST_RECEIVE,
                follows_progress=EventType.POST_RECEIVE in subscription.types
                and event.type not in (EventType.POST_CREATE, EventType.POST_RECEIVE),
            )


def _event_id(at: datetime) -> str:
    """32 hexadecimal digits: the milliseconds, so that ids sort by time, then 80 random bits."""
    return f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(10)}"
