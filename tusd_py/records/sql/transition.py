"""Finds an upload and changes its record in one transaction: one hop to a thread instead of two."""

from __future__ import annotations

from collections.abc import Callable

from tusd_py.contracts.direct import Decide
from tusd_py.contracts.records import RecordsError
from tusd_py.model.jobs import Effects
from tusd_py.model.upload import Upload
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.rows import from_row, spend_as_if_found
from tusd_py.records.sql.transactions import RecordChange, WriteResult

_UNCHANGED = WriteResult(count=0)


class Transition:
    """A ``WriteOp``. ``saved`` is the upload as it was recorded, ``refusal`` what ``decide`` raised."""

    __slots__ = ("_change_of", "_decide", "_find_one", "_upload_id", "durable", "refusal", "saved")

    def __init__(
        self,
        find_one: str,
        upload_id: str,
        decide: Decide,
        change_of: Callable[[Upload, Upload, Effects], tuple[Upload, RecordChange]],
        *,
        durable: bool,
    ) -> None:
        self._find_one = find_one
        self._upload_id = upload_id
        self._decide = decide
        self._change_of = change_of
        self.durable = durable
        self.saved: Upload | None = None
        self.refusal: Exception | None = None

    def apply(self, connection: DatabaseConnection) -> WriteResult | RecordsError:
        self.saved = self.refusal = None
        rows = connection.execute(self._find_one, {"its_id": self._upload_id}).fetchall()
        if not rows:
            spend_as_if_found(1)
        before = from_row(rows[0]) if rows else None
        try:
            after, effects = self._decide(before)
        except Exception as refusal:  # noqa: BLE001 - the outermost handler of this decision; it is raised to its caller
            self.refusal = refusal
            return _UNCHANGED
        assert before is not None, "there is nothing to change"
        self.saved, change = self._change_of(before, after, effects)
        return change.apply(connection)
