"""What lists are filtered by: names, declared and detected types, and ranges of prefixes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.model.upload import HistoryEntry, Status
from tusd_py.protocol.headers import format_base64
from tusd_py.protocol.listing import declared_fields, detected_type, prefix_end

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def header(**values: bytes) -> str:
    return ",".join(f"{key} {format_base64(value)}" for key, value in values.items())


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        (None, ("", "")),
        ("filename ====", ("", "")),
        (header(filename="Über.PNG".encode(), filetype=b"Image/PNG; a=b"), ("über.png", "image/png")),
        (header(name=b"a/b\\C.txt", contentType=b"text/plain"), ("c.txt", "text/plain")),
        (header(filename=b"\xff\x00", type=b"\x00a\xff"), ("\N{REPLACEMENT CHARACTER}", "aÿ")),
        (header(filetype=b"x" * 500), ("", "x" * 127)),
    ],
)
def test_declared_fields(metadata: str | None, fields: tuple[str, str]) -> None:
    """The name without its path and in lower case, the type without parameters; nothing that a database cannot hold."""
    assert declared_fields(metadata) == fields


def test_detected_type() -> None:
    """It is a result of the step that validates; other steps have results of the same name."""
    other = HistoryEntry(Status.PROCESSING, NOW, "", "publishing", {"type": "x"})
    validation = HistoryEntry(Status.PROCESSING, NOW, "", "validation", {"type": "image/png"})
    assert (detected_type(()), detected_type((other,)), detected_type((other, validation))) == ("", "", "image/png")


@given(TEXT.filter(bool), TEXT, TEXT)
def test_prefix_is_a_range(prefix: str, rest: str, other: str) -> None:
    """Exactly the texts with the prefix are in the range, compared by code points as both databases do."""
    end = prefix_end(prefix)
    assert prefix <= prefix + rest < end
    assert other.startswith(prefix) == (prefix <= other < end)
    end.encode()
