"""Random histories with a subscription to everything: the recorded events are what has happened."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant

from tests.property.test_uploads_machine import _PACE, UploadsMachine
from tests.support.database import empty_database
from tests.support.harness import UploadsHarness
from tusd_py.contracts.hooks import HookEvent
from tusd_py.model.events import EventType
from tusd_py.model.hooks import Hook
from tusd_py.model.jobs import Subscription
from tusd_py.model.upload import Kind, Status
from tusd_py.records.sql.database import SqlDatabase

_CONSUMER = Subscription(name="c", actor="webhooks", types=frozenset(EventType))
_OF_STATUS = {
    Status.READY: EventType.UPLOAD_READY,
    Status.FAILED: EventType.UPLOAD_FAILED,
    Status.EXPIRED: EventType.UPLOAD_EXPIRED,
    Status.TERMINATED: EventType.POST_TERMINATE,
}


class EventsMachine(UploadsMachine):
    """The histories of uploads, over records that keep events."""

    @initialize()
    def open(self) -> None:
        def finished(event: HookEvent) -> None:
            self.finished.append(event.upload.id)

        async def build() -> UploadsHarness:
            self.database = await SqlDatabase.open(f"sqlite:///{self.directory}/records.sqlite3")
            functions = {Hook.POST_FINISH: finished}
            return UploadsHarness(
                self.database.records, self.make_store(), policy=_PACE, functions=functions, subscriptions=(_CONSUMER,)
            )

        self.directory = Path(tempfile.mkdtemp(prefix="tusd-py-test-"))
        (self.directory / "records.sqlite3").write_bytes(empty_database())
        self.harness = self.runner.run(build())

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.runner.run(self.database.close())
            shutil.rmtree(self.directory)
        super().teardown()

    @invariant()
    def events_match_history(self) -> None:
        """Each type except post-receive at most once, finished if complete; a job for each event not replaced."""
        for upload_id in self.known:
            events = [
                event
                for _, event in self.runner.run(self.database.job_queue.list_events(upload_id=upload_id, limit=999))
            ]
            types = [event.type for event in events]
            assert types[0] is EventType.POST_CREATE
            others = [kind for kind in types if kind is not EventType.POST_RECEIVE]
            assert len(others) == len(set(others))
            progress = [event for event in events if event.type is EventType.POST_RECEIVE]
            offsets = [event.upload.offset for event in progress if event.upload is not None]
            assert offsets == sorted(set(offsets))
            upload = self.runner.run(self.harness.record(upload_id))
            assert upload is not None
            handed_over = Status.READY in {step.status for step in upload.history}
            assert (EventType.POST_FINISH in types) == handed_over
            assert (EventType.UPLOAD_ASSEMBLED in types) == (upload.kind is Kind.FINAL and upload.is_complete)
            assert {_OF_STATUS[step.status] for step in upload.history if step.status in _OF_STATUS} == {
                kind for kind in types if kind in _OF_STATUS.values()
            }
            if upload.kind is Kind.FINAL:
                assert offsets == []
            else:
                assert (offsets[-1] if offsets else 0) == upload.offset
            jobs = self.runner.run(self.database.job_queue.list_jobs(upload_id=upload_id, limit=999))
            # A job of post-receive that still waits takes the newest event of that type.
            delivered = [job.event_id for job in jobs[::-1]]
            received = [event.id for event in events if event.type is EventType.POST_RECEIVE]
            replaced = set(received[:-1])
            assert [event.id for event in events if event.id in delivered or event.id not in replaced] == delivered


TestEvents = EventsMachine.TestCase
TestEvents.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.long
class TestEventsLong(EventsMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """More histories."""

    settings = settings(TestEvents.settings, max_examples=150)
