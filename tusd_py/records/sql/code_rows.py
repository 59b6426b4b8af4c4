"""Converts rows of access codes to values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tusd_py.model.codes import AccessCode
from tusd_py.records.sql.link_rows import instant_or_none
from tusd_py.records.sql.tables import from_microseconds, to_microseconds


def to_code(row: Sequence[Any]) -> AccessCode:
    """The code of a row in the order of ``code_statements.COLUMNS``."""
    return AccessCode(
        id=row[0],
        owner=row[1],
        label=row[2],
        created_at=from_microseconds(row[3]),
        expires_at=from_microseconds(row[4]),
        files_max=row[5],
        bytes_max=row[6],
        files=row[7],
        bytes=row[8],
        terminated_at=instant_or_none(row[9]),
        warned_at=instant_or_none(row[10]),
    )


def code_to_json(code: AccessCode) -> list[object]:
    """The code in an event, as a row in the order of ``code_statements.COLUMNS``."""
    return [
        code.id,
        code.owner,
        code.label,
        to_microseconds(code.created_at),
        to_microseconds(code.expires_at),
        code.files_max,
        code.bytes_max,
        code.files,
        code.bytes,
        None if code.terminated_at is None else to_microseconds(code.terminated_at),
        None if code.warned_at is None else to_microseconds(code.warned_at),
    ]


def code_from_json(row: Sequence[Any]) -> AccessCode:
    """The code of ``code_to_json``."""
    return to_code(row)
