"""Rows and the uploads they were made of."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tusd_py.model.upload import HistoryEntry, Kind, Status, Upload
from tusd_py.records.sql.rows import COLUMNS, from_row, to_row

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TIMES = st.datetimes(timezones=st.just(UTC))
BYTES = st.integers(0, 2**63 - 1)
HEADERS = st.none() | st.text(st.characters(max_codepoint=255))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
STEPS = st.builds(
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
    history=st.lists(STEPS).map(tuple),
    pending_steps=st.lists(st.text()).map(tuple),
    storage=st.dictionaries(st.text(), JSON),
)


@given(UPLOADS)
def test_an_upload_comes_back_from_its_row(upload: Upload) -> None:
    """Whatever an upload holds, its row gives the same upload again, to the microsecond."""
    row = to_row(upload, upload.token)
    assert from_row([row[name] for name in COLUMNS], upload.parts) == upload


def test_a_history_without_names_is_read() -> None:
    """A step as earlier versions wrote it, without a name and facts, is read as one that has none."""
    row = to_row(Upload(id="a", length=1, created_at=NOW, updated_at=NOW), 0)
    row["history"] = f'[{{"status":"uploading","at":"{NOW.isoformat()}","reason":"why"}}]'
    assert from_row([row[name] for name in COLUMNS]).history == (HistoryEntry(Status.UPLOADING, NOW, "why"),)


def test_the_token_is_the_one_given() -> None:
    """A row carries the token it is to be saved with, not the one that was seen."""
    upload = Upload(id="a", length=1, created_at=NOW, updated_at=NOW, token=4)
    assert to_row(upload, 5)["token"] == 5
