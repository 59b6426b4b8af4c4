"""Entries that are written later: an outage delays them, a defect loses those of one batch only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from tests.support.harness import Clock
from tests.support.waiting import eventually
from tusd_py.access.audit import AuditTrail, requested_id
from tusd_py.contracts.audit_log import AuditLog
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.model.audit import AuditActor, AuditEntry, AuditKind

pytestmark = pytest.mark.anyio

ACTOR = AuditActor("alice", "jwt", "192.0.2.7")


class FailingLog:
    """Keeps entries; each append first raises the next of ``failures``."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.entries: list[AuditEntry] = []

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.entries += entries


@pytest.mark.parametrize(("failure", "written"), [(RecordsUnavailable("away"), ["1", "2"]), (ValueError("odd"), ["2"])])
async def test_failed_append_ends_no_later_one(
    failure: Exception, written: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What the database refuses is written later; a defect is logged and loses its batch; ``close`` returns."""
    log, dropped = FailingLog(failure), list[int]()
    trail = AuditTrail(log=cast(AuditLog, log), clock=Clock(), on_dropped=dropped.append)
    trail.record_later(trail.entry(ACTOR, "download", AuditKind.UPLOAD, "1"))
    await eventually(lambda: not log.failures)
    trail.record_later(trail.entry(ACTOR, "download", AuditKind.UPLOAD, "2"))
    await trail.close()
    assert written == [entry.object_id for entry in log.entries]
    assert [1] * (2 - len(written)) == dropped
    assert ("audit entries are lost" in caplog.text) == bool(dropped)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "K7QX3M",
        "tusd_key_0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "0123456789abcdef\n",
        "0" * 33,
        "../" * 8,
    ],
)
def test_texts_that_clients_send_in_place_of_ids_are_not_recorded(text: str) -> None:
    """A token, a code or a line end in a path does not get into the log; ids do."""
    assert requested_id(text) == ""
    assert requested_id("890b6f49c49f694ef12d5eef26be28c4") == "890b6f49c49f694ef12d5eef26be28c4"
