"""Values: the description of a copy of the records in PostgreSQL, and the result of restoring one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tusd_py.records.sql.all_tables import RecordsTable


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """The columns of a table in the order of the file, its rows, and the digest of the file."""

    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordsCopy:
    """The revision of the schema, its tables, and by table the last number that was given."""

    revision: str
    oldest_revision: str | None
    tables: Mapping[str, CopiedTable]
    numbers: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """As it stands in a manifest."""
        return {
            "revision": self.revision,
            "oldest_revision": self.oldest_revision,
            "tables": {
                name: {"columns": list(table.columns), "rows": table.rows, "sha256": table.sha256}
                for name, table in self.tables.items()
            },
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True, slots=True)
class RestoredRecords:
    """The credentials that a restore has revoked, by table, and where the tables before are."""

    revoked: Mapping[str, int]
    knew_revocations: bool  # whether the database before said which
    replaced: str  # a schema, or empty


def parse_copy(value: Any) -> RecordsCopy:
    """The inverse of ``to_json``. Raises ``ValueError``."""
    try:
        tables = {
            str(name): CopiedTable(tuple(map(str, table["columns"])), int(table["rows"]), str(table["sha256"]))
            for name, table in value["tables"].items()
        }
        numbers = {str(name): int(number) for name, number in value["numbers"].items()}
        copy = RecordsCopy(str(value["revision"]), value["oldest_revision"], tables, numbers)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this does not describe a copy of the records") from error
    if not {*tables, *numbers} <= set(RecordsTable.metadata.tables):
        raise ValueError("there are no such tables")
    return copy
