"""The insertion of an ordinary new upload: those that share a transaction are one call of the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Upload
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.quota_rows import QuotaBatch, QuotaRows
from tusd_py.records.sql.rows import inserted_row, plain_row


class Change(Protocol):
    """A change in the form that all others have: ``transactions.RecordChange``."""

    durable: bool

    def apply(self, connection: DatabaseConnection, batch: QuotaBatch | None = None) -> Any: ...


class PlainInsertion:
    """Inserts a row with nothing else but perhaps the charge of the upload; a quarter of the cost of a creation.

    The writer makes the rows, one after the other, while the code is in the caches. ``expand`` makes the same change in
    the form that all others have, for a database or a batch for which there is no shorter way.
    """

    __slots__ = ("_effects", "_expand", "durable", "quota", "upload")

    def __init__(
        self,
        upload: Upload,
        effects: Effects,
        quota: QuotaRows | None,
        expand: Callable[[Upload, Effects, dict[str, object]], Change],
    ) -> None:
        self.upload = upload
        self.quota = quota
        self.durable = upload.is_complete
        self._effects = effects
        self._expand = expand

    def expand(self) -> Change:
        return self._expand(self.upload, self._effects, inserted_row(self.upload))

    def apply(self, connection: DatabaseConnection, batch: QuotaBatch | None = None) -> Any:
        return self.expand().apply(connection, batch)


def is_plain(upload: Upload, effects: Effects) -> bool:
    """Whether ``plain_row`` has all of the upload, and nothing but its charge is written with it."""
    return (
        upload.kind is Kind.REGULAR
        and not upload.token
        and upload.length_max is None
        and upload.concat_header is None
        and (
            effects is NO_EFFECTS
            or (
                not (effects.events or effects.jobs or effects.audit or effects.code or effects.link)
                and effects.completed_job is None
            )
        )
    )


def insert_together(connection: DatabaseConnection, statement: str, insertions: Sequence[PlainInsertion]) -> None:
    """Insert the rows. Raises ``ValueError``, as for a faulty row, if one of them exists."""
    if connection.execute_many(statement, [plain_row(each.upload) for each in insertions]) < len(insertions):
        # They run again, apart.
        raise ValueError("a row exists already")
