"""Runs a job alone after its worker died with it, to distinguish a job that kills its worker from those beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tusd_py.model.jobs import Job

#: A job that has run this long without killing its worker is not suspected: others may start beside it.
ALONE_SECONDS = 10.0
#: The same for the delivery of an event. It works for some milliseconds and then waits for its receiver: many that hang
#: with one receiver must not hold up all other jobs, one after the other.
DELIVERY_ALONE_SECONDS = 0.5


class Isolation:
    """Lets jobs start side by side, and each suspect (``job.starts`` above 0) alone for up to ``alone_seconds``.

    A suspect waits until every other running job has run so long, and no job starts until the suspect has: a wait of
    ``2 * alone_seconds`` at most for each suspect before it. For a delivery it is ``delivery_alone_seconds``. Belongs
    to one event loop.
    """

    def __init__(
        self, alone_seconds: float = ALONE_SECONDS, delivery_alone_seconds: float = DELIVERY_ALONE_SECONDS
    ) -> None:
        self._alone_seconds = alone_seconds
        self._delivery_alone_seconds = delivery_alone_seconds
        self._turn = asyncio.Lock()  # its waiters get it in order
        self._suspect: int | None = None  # the job that has the turn while it runs
        self._suspected_until: dict[int, float] = {}  # by running job
        self._ended = asyncio.Event()  # set each time a job ends

    async def wait(self, job: Job) -> None:
        """Wait until ``job`` may start. The caller must enter ``running`` next, without awaiting anything else."""
        await self._turn.acquire()
        if not job.starts:
            self._turn.release()
            return
        try:
            await self._wait_for_others()
        except BaseException:
            self._turn.release()
            raise
        self._suspect = job.id

    @contextmanager
    def running(self, job: Job, on_survived: Callable[[], None]) -> Iterator[None]:
        """Count ``job`` as running. ``on_survived`` is called when a suspect has run alone for its time."""
        loop = asyncio.get_running_loop()

        def survived() -> None:
            self._release(job)
            on_survived()

        seconds = self._delivery_alone_seconds if job.subscription else self._alone_seconds
        self._suspected_until[job.id] = loop.time() + seconds
        timer = loop.call_later(seconds, survived) if self._suspect == job.id else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._release(job)
            del self._suspected_until[job.id]
            self._ended.set()

    def _release(self, job: Job) -> None:
        if self._suspect == job.id:
            self._suspect = None
            self._turn.release()

    async def _wait_for_others(self) -> None:
        """Wait until every running job has ended or is no longer suspected."""
        while self._suspected_until:
            left = max(self._suspected_until.values()) - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._ended.clear()
            try:
                async with asyncio.timeout(left):
                    await self._ended.wait()
            except TimeoutError:
                return
