"""Converts events and jobs to rows of the database and back. Nothing here uses a connection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.jobs import Job, JobState, NewJob
from tusd_py.records.sql.code_rows import code_from_json, code_to_json
from tusd_py.records.sql.rows import COLUMNS, from_row, to_row
from tusd_py.records.sql.tables import from_microseconds, to_microseconds

#: The columns in the order in which ``to_event`` and ``to_job`` expect them.
EVENT_COLUMNS = ("seq", "id", "type", "at", "body")
JOB_COLUMNS = (
    "id",
    "actor",
    "subscription",
    "key",
    "sequence_key",
    "upload_id",
    "event_id",
    "state",
    "attempt",
    "token",
    "created_at",
    "next_attempt_at",
    "ended_at",
    "error",
    "starts",
    "lane",
)
# Columns of an upload that are JSON themselves: the body contains them as JSON, not as a string of JSON.
_JSON_COLUMNS = ("history", "pending_steps", "storage")
# Events recorded by older versions have not these columns of an upload.
_LATER_COLUMNS: Mapping[str, object] = {"grant": "", "length_max": None}


def event_row(event: Event, token: int) -> dict[str, object]:
    """The row of ``event``; its upload is recorded with ``token``."""
    return {
        "id": event.id,
        "type": event.type.value,
        "upload_id": event.upload_id,
        "at": to_microseconds(event.at),
        "body": _format_body(event, token),
    }


def to_event(row: Sequence[Any]) -> tuple[int, Event]:
    """The event of a row in the order of ``EVENT_COLUMNS``, and its sequence number."""
    body = json.loads(row[4])
    at = from_microseconds(row[3])
    if "code" in body:
        code = code_from_json(body["code"])
        return row[0], Event(id=row[1], type=EventType(row[2]), at=at, upload=None, code=code)
    in_json = {name: json.dumps(body[name], separators=(",", ":")) for name in _JSON_COLUMNS}
    recorded = {**_LATER_COLUMNS, **body["upload"], **in_json}
    upload = from_row([recorded[name] for name in COLUMNS], tuple(body["parts"]))
    return row[0], Event(id=row[1], type=EventType(row[2]), at=at, upload=upload, caller=_to_caller(body["caller"]))


def job_row(job: NewJob, now: datetime) -> dict[str, object]:
    """The row of a job that is added and due ``now``."""
    return {
        "actor": job.actor,
        "subscription": job.subscription,
        "key": job.key,
        "sequence_key": job.sequence_key,
        "its_sequence_key": job.sequence_key,
        "upload_id": job.upload_id,
        "event_id": job.event_id,
        "state": JobState.WAITING.value,
        "attempt": 0,
        "token": 0,
        "created_at": to_microseconds(now),
        "next_attempt_at": to_microseconds(now),
        "error": "",
        "starts": 0,
        "lane": job.lane,
    }


def to_job(row: Sequence[Any]) -> Job:
    """The job of a row in the order of ``JOB_COLUMNS``."""
    return Job(
        id=row[0],
        actor=row[1],
        subscription=row[2],
        key=row[3],
        sequence_key=row[4],
        upload_id=row[5],
        event_id=row[6],
        state=JobState(row[7]),
        attempt=row[8],
        token=row[9],
        created_at=from_microseconds(row[10]),
        next_attempt_at=from_microseconds(row[11]),
        ended_at=None if row[12] is None else from_microseconds(row[12]),
        error=row[13],
        starts=row[14],
        lane=row[15],
    )


def _format_body(event: Event, token: int) -> str:
    if event.upload is None:
        assert event.code is not None, "an event is about an upload or a code"
        # The owner where events of uploads have it: what is erased of an owner is found by it.
        return json.dumps({"code": code_to_json(event.code), "upload": {"owner": event.code.owner}})
    row = to_row(event.upload, token)
    parts = [f'"{name}":{row.pop(name)}' for name in _JSON_COLUMNS]
    parts.append(f'"upload":{json.dumps(row)}')
    parts.append(f'"parts":{json.dumps(event.upload.parts)}')
    parts.append(f'"caller":{json.dumps(_from_caller(event.caller))}')
    return f"{{{','.join(parts)}}}"


def _from_caller(caller: Caller | None) -> dict[str, object] | None:
    if caller is None:
        return None
    # Latin-1 maps every byte to a character and back, so that headers are unchanged.
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in caller.headers]
    return {
        "remote_address": caller.remote_address,
        "method": caller.method,
        "target": caller.target,
        "headers": headers,
        "owner": caller.owner,
    }


def _to_caller(caller: Mapping[str, Any] | None) -> Caller | None:
    if caller is None:
        return None
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in caller["headers"]]
    return Caller(**{**caller, "headers": headers})
