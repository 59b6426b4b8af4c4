"""The story of an upload in the log: one line for each event, none for its chunks."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tusd_py.uploads.administer import expire_upload

pytestmark = pytest.mark.anyio


async def test_events_of_uploads_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Created, finished, expired and terminated, each with id, length and client; no line for the chunks between."""
    caplog.set_level(logging.INFO, "tusd_py.uploads")
    harness = UploadsHarness(caller=replace(CALLER, client="192.0.2.7"))
    first = (await harness.create(4, b"0")).upload.id
    for offset in range(1, 4):
        await harness.append(first, offset, b"x")
    second = (await harness.create(2, b"01")).upload.id
    await harness.terminate(second)
    third = (await harness.create(2)).upload.id
    await expire_upload(harness.ports, third)
    lines = [(record.message, vars(record)["upload"]) for record in caplog.records]
    assert lines == [
        ("upload created", first),
        ("upload finished", first),
        ("upload created", second),
        ("upload finished", second),
        ("upload terminated", second),
        ("upload created", third),
        ("upload expired", third),
    ]
    values = vars(caplog.records[0])
    assert (4, "192.0.2.7") == (values["length"], values["client"])
