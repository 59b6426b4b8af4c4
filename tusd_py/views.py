"""Uploads, events and jobs as JSON values, for people and programs: what the API, webhooks and commands show alike."""

from __future__ import annotations

from datetime import UTC, datetime

from tusd_py.model.events import Event
from tusd_py.model.jobs import Job, JobState
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import parse_metadata


def upload_view(upload: Upload) -> dict[str, object]:
    """What may be known of an upload; how its store keeps it is nobody's business."""
    return {
        "id": upload.id,
        "kind": upload.kind.value,
        "status": upload.status.value,
        "length": upload.length,
        "offset": upload.offset,
        "metadata": metadata_view(upload),
        "owner": upload.owner,
        "parts": list(upload.parts),
        "created_at": format_time(upload.created_at),
        "updated_at": format_time(upload.updated_at),
        "completed_at": format_time(upload.completed_at),
        "expires_at": format_time(upload.expires_at),
        "awaiting": list(upload.pending_steps),
        "history": [
            {
                "status": step.status.value,
                "at": format_time(step.at),
                "step": step.name,
                "reason": step.reason,
                "facts": dict(step.details),
            }
            for step in upload.history
        ],
    }


def event_view(event: Event) -> dict[str, object]:
    """The envelope of an event. Headers of the request stay out of it: they may hold what lets people in."""
    caller = event.caller
    request = None
    if caller is not None:
        target = caller.target.encode("latin-1", "replace").decode("utf-8", "replace")
        request = {"method": caller.method, "target": target, "remote_address": caller.remote_address}
    return {
        "id": event.id,
        "type": event.type.value,
        "at": format_time(event.at),
        "upload": upload_view(event.upload),
        "request": request,
    }


def metadata_view(upload: Upload) -> dict[str, str]:
    """The metadata as text; nothing where a record of another server has what this one would have refused."""
    try:
        values = parse_metadata(upload.metadata_header)
    except InvalidMetadata:
        return {}
    return {key: value.decode("utf-8", "replace") for key, value in sorted(values.items())}


def format_time(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_view(job: Job) -> dict[str, object]:
    """All that is known of a job."""
    is_waiting = job.state is JobState.WAITING
    return {
        "id": job.id,
        "state": job.state.value,
        "actor": job.actor,
        "consumer": job.subscription,
        "upload_id": job.upload_id,
        "event_id": job.event_id,
        "attempt": job.attempt,
        "created_at": format_time(job.created_at),
        "next_attempt_at": format_time(job.next_attempt_at) if is_waiting else None,
        "ended_at": format_time(job.ended_at),
        "error": job.error,
    }
