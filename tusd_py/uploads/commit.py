"""Saving a change of a record, and with it what follows: the events it means, and a job for everybody who wants them.

Every use case saves through here, so that no event can be forgotten and none told of what was not saved.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType, derive_events
from tusd_py.model.jobs import NO_EFFECTS, Effects, Job, NewJob
from tusd_py.model.upload import Upload
from tusd_py.uploads.ports import Ports

_CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"cookie"})


@dataclass(frozen=True, slots=True)
class Cause:
    """Who brought a change of a record about, and which job it ends."""

    caller: Caller | None = None
    completed_job: Job | None = None
    reports_progress: bool = True  # whether bytes that were saved are an event
    owes_progress_report: bool = False  # bytes of an earlier save are one, if this save brought none


NO_CAUSE = Cause()


async def insert(ports: Ports, upload: Upload, change: Cause = NO_CAUSE) -> None:
    """Record a new upload. Raises ``RecordExists``."""
    await ports.records.insert(upload, _effects(ports, None, upload, change))


async def update(ports: Ports, before: Upload, after: Upload, change: Cause = NO_CAUSE) -> Upload:
    """Save ``after`` over ``before`` and return it with its new token. Raises ``RecordConflict`` or ``LeaseLost``."""
    return await ports.records.update(before, after, _effects(ports, before, after, change))


def _effects(ports: Ports, before: Upload | None, after: Upload, change: Cause) -> Effects:
    events = tuple(_events(ports, before, after, change)) if ports.policy.subscriptions else ()
    jobs = [job for event in events for job in _jobs(ports, event)]
    if after.pending_steps[:1] != (before.pending_steps[:1] if before is not None else ()) and after.pending_steps:
        step = after.pending_steps[0]
        jobs.append(NewJob(actor=step, key=f"{after.id} {step}", upload_id=after.id, sequence_key=f"{after.id} steps"))
    if not events and not jobs and change.completed_job is None:
        return NO_EFFECTS
    return Effects(events=events, jobs=tuple(jobs), completed_job=change.completed_job)


def _events(ports: Ports, before: Upload | None, after: Upload, change: Cause) -> Iterable[Event]:
    types = derive_events(before, after)
    caller = _without_credentials(change.caller, ports.policy.forwarded_credentials)
    if change.owes_progress_report and EventType.POST_RECEIVE not in types:
        types = (EventType.POST_RECEIVE, *types)
    for kind in types:
        if kind is EventType.POST_RECEIVE and not change.reports_progress:
            continue
        if any(kind in subscription.types for subscription in ports.policy.subscriptions):
            at = after.updated_at
            yield Event(id=_event_id(at), type=kind, at=at, upload=after, caller=caller)


def _jobs(ports: Ports, event: Event) -> Iterable[NewJob]:
    for subscription in ports.policy.subscriptions:
        if subscription.actor and event.type in subscription.types:
            yield NewJob(
                actor=subscription.actor,
                subscription=subscription.name,
                key=f"{event.id} {subscription.name}",
                sequence_key=f"{event.upload.id} {subscription.name}",
                upload_id=event.upload.id,
                event_id=event.id,
            )


def _without_credentials(caller: Caller | None, forwarded_credentials: frozenset[bytes]) -> Caller | None:
    """The caller as an event keeps it: days later, and for whoever reads the database, passwords have no business."""
    if caller is None:
        return None
    kept = [
        (name, value) for name, value in caller.headers if name not in _CREDENTIALS or name in forwarded_credentials
    ]
    return replace(caller, headers=kept)


def _event_id(at: datetime) -> str:
    """32 hexadecimal digits: the milliseconds, so that ids sort by time, and 80 bits that nobody else draws."""
    return f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(10)}"
