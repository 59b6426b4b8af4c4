"""Uploads, events and jobs as JSON values, shared by the API, webhooks and commands."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from tusd_py.model.account import Account, ApiKey
from tusd_py.model.audit import RecordedEntry
from tusd_py.model.codes import AccessCode
from tusd_py.model.events import Event
from tusd_py.model.jobs import ClosedEndpoint, Job, JobState
from tusd_py.model.schedules import ScheduleState
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.file_names import shown_name
from tusd_py.protocol.metadata import parse_metadata


def upload_view(upload: Upload) -> dict[str, object]:
    """The public fields of an upload; the private state of the store is left out."""
    return {
        "id": upload.id,
        "kind": upload.kind.value,
        "status": upload.status.value,
        "length": upload.length,
        "offset": upload.offset,
        "name": name_view(upload),
        "metadata": metadata_view(upload),
        "owner": upload.owner,
        "grant": upload.grant,
        "parts": list(upload.parts),
        "created_at": format_time(upload.created_at),
        "updated_at": format_time(upload.updated_at),
        "completed_at": format_time(upload.completed_at),
        "expires_at": format_time(upload.expires_at),
        "pending_steps": list(upload.pending_steps),
        "history": [
            {
                "status": entry.status.value,
                "at": format_time(entry.at),
                "step": entry.name,
                "reason": entry.reason,
                "details": dict(entry.details),
            }
            for entry in upload.history
        ],
    }


def event_view(event: Event) -> dict[str, object]:
    """The envelope of an event, without the headers and the query of the request: they may contain credentials."""
    caller = event.caller
    request = None
    if caller is not None:
        # Events recorded by older versions have the query.
        target = caller.target.partition("?")[0].encode("latin-1", "replace").decode("utf-8", "replace")
        request = {"method": caller.method, "target": target, "remote_address": caller.remote_address}
    return {
        "id": event.id,
        "type": event.type.value,
        "at": format_time(event.at),
        "upload": None if event.upload is None else upload_view(event.upload),
        "request": request,
        **({} if event.code is None else {"code": code_view(event.code, event.at)}),
    }


def code_view(code: AccessCode, now: datetime) -> dict[str, object]:
    """A code without its characters, which are shown once, when it is made."""
    return {
        "id": code.id,
        "state": code.state(now).value,
        "owner": code.owner,
        "label": code.label,
        "created_at": format_time(code.created_at),
        "expires_at": format_time(code.expires_at),
        "remaining_seconds": math.ceil(code.remaining_seconds(now)),
        "files": code.files,
        "files_max": code.files_max,
        "bytes": code.bytes,
        "bytes_max": code.bytes_max,
    }


def metadata_view(upload: Upload) -> dict[str, str]:
    """The metadata decoded as text; empty if an imported record has metadata that this server would refuse."""
    try:
        values = parse_metadata(upload.metadata_header)
    except InvalidMetadata:
        return {}
    return {key: value.decode("utf-8", "replace") for key, value in sorted(values.items())}


def name_view(upload: Upload) -> str:
    """The name of the file for people, without invisible characters; possibly empty."""
    try:
        return shown_name(parse_metadata(upload.metadata_header))
    except InvalidMetadata:
        return ""


def format_time(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds; None stays None."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_view(job: Job) -> dict[str, object]:
    """The fields of a job."""
    is_waiting = job.state is JobState.WAITING
    return {
        "id": job.id,
        "state": job.state.value,
        "actor": job.actor,
        "subscription": job.subscription,
        "upload_id": job.upload_id,
        "event_id": job.event_id,
        "attempt": job.attempt,
        "created_at": format_time(job.created_at),
        "next_attempt_at": format_time(job.next_attempt_at) if is_waiting else None,
        "ended_at": format_time(job.ended_at),
        "error": job.error,
    }


def audit_view(recorded: RecordedEntry) -> dict[str, object]:
    """An entry of the audit log."""
    entry = recorded.entry
    return {
        "number": recorded.number,
        "at": format_time(entry.at),
        "subject": entry.subject,
        "method": entry.method,
        "verb": entry.verb,
        "kind": entry.kind.value,
        "id": entry.object_id,
        "outcome": entry.outcome.value,
        "address": entry.address,
        "reason": entry.reason,
    }


def schedule_view(state: ScheduleState) -> dict[str, object]:
    """A schedule: its last run, and when the next one is due."""
    return {
        "name": state.name,
        "timing": state.timing,
        "last_run": format_time(state.started_at),
        "ended_at": format_time(state.ended_at),
        "outcome": state.outcome.value,
        "detail": state.detail,
        "next_run": format_time(state.due_at),
    }


def endpoint_view(endpoint: ClosedEndpoint) -> dict[str, object]:
    """A closed webhook endpoint."""
    return {
        "name": endpoint.name,
        "state": "closed",
        "reason": endpoint.reason,
        "since": format_time(endpoint.since),
    }


def account_view(account: Account) -> dict[str, object]:
    """An account, without its password."""
    return {
        "name": account.name,
        "roles": sorted(account.roles),
        "disabled": account.is_disabled,
        "created_at": format_time(account.created_at),
        "logged_in_at": format_time(account.logged_in_at),
    }


def key_view(key: ApiKey) -> dict[str, object]:
    """An API key, without its digest."""
    return {
        "id": key.id,
        "owner": key.owner,
        "label": key.label,
        "roles": sorted(key.roles),
        "verbs": None if key.verbs is None else sorted(key.verbs),
        "length_max": key.limits.length_max,
        "types": None if key.limits.types is None else list(key.limits.types),
        "created_at": format_time(key.created_at),
        "expires_at": format_time(key.expires_at),
        "revoked_at": format_time(key.revoked_at),
        "last_used_at": format_time(key.last_used_at),
    }
