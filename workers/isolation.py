"""Runs a job alone after its worker died with it, so that a job that kills its worker is told from those beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tusd_py.model.jobs import Job

#: A job that has run this long without killing its worker is not suspected: others may start beside it.
ALONE_SECONDS = 10.0


class Isolation:
    """Lets jobs start side by side, and each suspect (``job.starts`` above 0) alone for up to ``alone_seconds``.

    A suspect waits until every other running job has run so long, and no job starts until the suspect has: a wait of
    ``2 * alone_seconds`` at most for each suspect before it. Belongs to one event loop.
    """

    def __init__(self, alone_seconds: float = ALONE_SECONDS) -> None:
        self._alone_seconds = alone_seconds
        self._turn = asyncio.Lock()  # its waiters get it in order
        self._suspect: int | None = None  # the job that has the turn while it runs
        self._started_at: dict[int, float] = {}  # by job
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
        """Count ``job`` as running. ``on_survived`` is called when a suspect has run for ``alone_seconds``."""
        loop = asyncio.get_running_loop()

        def survived() -> None:
            self._release(job)
            on_survived()

        self._started_at[job.id] = loop.time()
        timer = loop.call_later(self._alone_seconds, survived) if self._suspect == job.id else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._release(job)
            del self._started_at[job.id]
            self._ended.set()

    def _release(self, job: Job) -> None:
        if self._suspect == job.id:
            self._suspect = None
            self._turn.release()

    async def _wait_for_others(self) -> None:
        """Wait until every running job has ended or has run for ``alone_seconds``."""
        while self._started_at:
            left = max(self._started_at.values()) + self._alone_seconds - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._ended.clear()
            try:
                async with asyncio.timeout(left):
                    await self._ended.wait()
            except TimeoutError:
                return
