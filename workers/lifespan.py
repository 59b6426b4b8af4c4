"""Opens and closes what a worker process needs: the ports and the dispatcher, on the event loop of the actors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any, TypeVar

from dramatiq import Broker, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread

from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.jobs import subscribe_to_jobs
from tusd_py.wiring.ports import close_ports, open_ports
from tusd_py.wiring.processing import reload_rules

from .actor import Actor
from .actors.webhooks import close_deliverer
from .broker import job_transport
from .clock_watch import ClockWatch
from .dispatcher import Dispatcher
from .runner import JobRunner, describe

log = logging.getLogger(__name__)
T = TypeVar("T")

_REOPEN_SECONDS = 1.0
_CLOSE_SECONDS = 10.0


class Lifespan(Middleware):
    """Opens when the Dramatiq worker has booted and closes when its actors have ended.

    ``fail`` is called after an unexpected error: the process must exit and be restarted.
    """

    def __init__(self, settings: Settings, actors: Mapping[str, Actor], fail: Callable[[], None]) -> None:
        self._settings = settings
        self.actors = actors
        self._fail = fail
        self._dispatcher: Dispatcher | None = None
        self._ports: Ports | None = None
        self._has_opened = asyncio.Event()
        self._stopping = asyncio.Event()
        self._lifetime: Future[None] | None = None

    async def perform(self, job_id: int, token: int) -> None:
        """Run a job. With Redis, jobs may arrive before everything is open."""
        await self._has_opened.wait()
        if self._dispatcher is not None:
            await self._dispatcher.perform(job_id, token)

    def reload_rules(self, settings: Settings) -> None:
        """Apply the validation rules of ``settings`` from now on."""
        self._settings = settings
        if self._ports is not None:
            reload_rules(self._ports, settings)

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._lifetime = _on_loop(self._run(broker, worker.worker_threads))

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Wait for running jobs; the broker interrupts those that take longer."""
        _on_loop(self._stop()).result()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        assert self._lifetime is not None, "a worker boots before it shuts down"
        try:
            self._lifetime.result(_CLOSE_SECONDS)
        except TimeoutError:
            log.error("an interrupted actor did not end")

    async def _run(self, broker: Broker, threads: int) -> None:
        try:
            ports = self._ports = await self._open()
            if ports is not None:
                await self._dispatch(ports, broker, threads)
        except Exception:
            # The outermost handler of the worker: without its dispatcher it would run on and do nothing.
            log.exception("worker failed")
            self._fail()
        finally:
            self._has_opened.set()

    async def _open(self) -> Ports | None:
        """The ports, once the database can be opened; ``None`` if the worker stops before that."""
        reason = ""
        while not self._stopping.is_set():
            try:
                return await open_ports(self._settings)
            except (OSError, RecordsError, StoreError) as error:
                if describe(error) != reason:
                    reason = describe(error)
                    log.error("worker could not start, retrying", extra={"reason": reason})
            try:
                async with asyncio.timeout(_REOPEN_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        return None

    async def _dispatch(self, ports: Ports, broker: Broker, threads: int) -> None:
        assert ports.job_queue is not None, "settings with records in memory have no worker"
        runner = JobRunner(ports, ports.job_queue, self._settings, self.actors)
        self._dispatcher = dispatcher = Dispatcher(runner, job_transport(broker), threads)
        try:
            with subscribe_to_jobs(self._settings, dispatcher.wake):
                self._has_opened.set()
                log.info("worker started", extra={"actors": sorted(self.actors), "threads": threads})
                stopping = asyncio.create_task(self._stop_dispatcher(dispatcher))
                watching = asyncio.create_task(ClockWatch(runner, dispatcher.wake).run())
                try:
                    await dispatcher.run()
                finally:
                    watching.cancel()
                await stopping
        finally:
            log.info("worker stopped", extra=asdict(runner.counters))
            await close_deliverer()
            await close_ports(ports, self._settings)

    async def _stop_dispatcher(self, dispatcher: Dispatcher) -> None:
        await self._stopping.wait()
        await dispatcher.stop()

    async def _stop(self) -> None:
        self._stopping.set()
        assert self._lifetime is not None, "a worker boots before it shuts down"
        lifetime = asyncio.wrap_future(self._lifetime)
        _, running = await asyncio.wait([lifetime], timeout=self._settings.worker.shutdown_timeout_seconds)
        if running:
            log.warning("interrupting running jobs")


def _on_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    thread = get_event_loop_thread()
    assert thread is not None, "the event loop starts before the worker"
    return asyncio.run_coroutine_threadsafe(work, thread.loop)
