"""Rows of uploads, both ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tusd_py.model.upload import HistoryEntry, Kind, Status, Upload
from tusd_py.records.sql.rows import COLUMNS, from_row, spend_as_if_found, to_row

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TIMES = st.datetimes(timezones=st.just(UTC))
BYTES = st.integers(0, 2**63 - 1)
HEADERS = st.none() | st.text(st.characters(max_codepoint=255))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ENTRIES = st.builds(
    HistoryEntry,
    st.sampled_from(Status),
    TIMES,
    st.text(),
    name=st.text(),
    details=st.dictionaries(st.text(), st.text()),
)
UPLOADS = st.builds(
    Upload,
    id=st.text(),
    kind=st.sampled_from(Kind),
    length=st.none() | BYTES,
    offset=BYTES,
    token=BYTES,
    metadata_header=HEADERS,
    concat_header=HEADERS,
    parts=st.lists(st.text()).map(tuple),
    owner=st.text(),
    created_at=TIMES,
    updated_at=TIMES,
    expires_at=st.none() | TIMES,
    completed_at=st.none() | TIMES,
    status=st.sampled_from(Status),
    history=st.lists(ENTRIES).map(tuple),
    pending_steps=st.lists(st.text()).map(tuple),
    storage=st.dictionaries(st.text(), JSON),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UPLOADS)
def test_upload_round_trip(upload: Upload) -> None:
    """Every upload is read back from its row unchanged, to the microsecond."""
    row = to_row(upload, upload.token)
    assert from_row([row[name] for name in COLUMNS], upload.parts) == upload


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENTRIES, max_size=3).map(tuple), TIMES, st.text())
def test_entry_is_added_to_an_unparsed_history(history: tuple[HistoryEntry, ...], at: datetime, why: str) -> None:
    """The row is the same as if the entries had been read, and so is the history."""
    upload = Upload(id="a", length=1, created_at=NOW, updated_at=NOW, history=history)
    row = to_row(upload, 0)
    ended = upload.with_status(Status.FAILED, at, why)
    found = from_row([row[name] for name in COLUMNS]).with_status(Status.FAILED, at, why)
    again = from_row([to_row(found, 0)[name] for name in COLUMNS])
    assert to_row(found, 0) | {"detected_type": None} == to_row(ended, 0) | {"detected_type": None}
    assert [found.history, again.history] == [ended.history] * 2


def test_history_without_name_and_details() -> None:
    """An entry of an earlier version, without name and details, is read as one with neither."""
    row = to_row(Upload(id="a", length=1, created_at=NOW, updated_at=NOW), 0)
    row["history"] = f'[{{"status":"uploading","at":"{NOW.isoformat()}","reason":"why"}}]'
    assert from_row([row[name] for name in COLUMNS]).history == (HistoryEntry(Status.UPLOADING, NOW, "why"),)


def test_row_has_the_token_that_was_passed() -> None:
    """A row has the token to be saved, not that of the upload."""
    upload = Upload(id="a", length=1, created_at=NOW, updated_at=NOW, token=4)
    assert to_row(upload, 5)["token"] == 5


def test_time_of_unknown_uploads() -> None:
    """The row that stands in for those that do not exist can be read like any other."""
    spend_as_if_found(2)


@given(TIMES, st.booleans())
def test_times_of_a_history_are_those_of_isoformat(at: datetime, is_whole: bool) -> None:
    """To the microsecond, and without a fraction for a whole second, before and after 1970."""
    at = at.replace(microsecond=0 if is_whole else at.microsecond)
    upload = Upload(id="a", length=1, created_at=at, updated_at=at, history=(HistoryEntry(Status.UPLOADING, at),))
    (entry,) = json.loads(str(to_row(upload, 0)["history"]))
    assert at.isoformat() == entry["at"]
