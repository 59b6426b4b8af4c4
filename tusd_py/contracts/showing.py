"""Jobs as JSON values, for people and programs: what the API and the commands show alike."""

from __future__ import annotations

from tusd_py.contracts.jobs import Job, JobState
from tusd_py.protocol.shown import show_time


def show_job(job: Job) -> dict[str, object]:
    """All that is known of a job."""
    is_waiting = job.state is JobState.WAITING
    return {
        "id": job.id,
        "state": job.state.value,
        "actor": job.actor,
        "consumer": job.consumer,
        "upload_id": job.upload_id,
        "event_id": job.event_id,
        "attempt": job.attempt,
        "created_at": show_time(job.created_at),
        "next_attempt_at": show_time(job.next_attempt_at) if is_waiting else None,
        "ended_at": show_time(job.ended_at),
        "error": job.error,
    }
