"""What a worker process has open while it runs: the ports and the relay, on the loop of the actors."""

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
from tusd_py.wiring import close_ports, hear_of_jobs, open_ports

from .attempts import Attempts, told
from .broker import channel
from .relay import Relay
from .tasks import Actor

log = logging.getLogger(__name__)
T = TypeVar("T")

_OPENING_AGAIN_SECONDS = 1.0
_CLOSING_SECONDS = 10.0


class Lifespan(Middleware):
    """Opens when the worker has booted, however it was started, and closes when its actors have ended.

    ``fail`` is called where nothing more can be done: the process must end then, and be started anew.
    """

    def __init__(self, settings: Settings, actors: Mapping[str, Actor], fail: Callable[[], None]) -> None:
        self._settings = settings
        self._actors = actors
        self._fail = fail
        self._relay: Relay | None = None
        self._has_opened = asyncio.Event()
        self._stopping = asyncio.Event()
        self._life: Future[None] | None = None

    async def perform(self, job_id: int, token: int) -> None:
        """Do the job. Over Redis jobs may come before everything is open."""
        await self._has_opened.wait()
        if self._relay is not None:
            await self._relay.perform(job_id, token)

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._life = _on_loop(self._live(broker, worker.worker_threads))

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Give actors their time to end; the broker interrupts who runs after it."""
        _on_loop(self._stop()).result()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        assert self._life is not None, "what shuts down has booted"
        try:
            self._life.result(_CLOSING_SECONDS)
        except TimeoutError:
            log.error("an actor did not end when it was interrupted")

    async def _live(self, broker: Broker, threads: int) -> None:
        try:
            ports = await self._open()
            if ports is not None:
                await self._relay_jobs(ports, broker, threads)
        except Exception:
            # The outermost handler of the worker: without its relay it does nothing, and must be seen to.
            log.exception("the worker fails")
            self._fail()
        finally:
            self._has_opened.set()

    async def _open(self) -> Ports | None:
        """The ports, opened now or when the database can be; ``None`` if the worker stops before."""
        reason = ""
        while not self._stopping.is_set():
            try:
                return await open_ports(self._settings)
            except (OSError, RecordsError, StoreError) as error:
                if told(error) != reason:
                    reason = told(error)
                    log.error("the worker cannot work yet; it tries again", extra={"reason": reason})
            try:
                async with asyncio.timeout(_OPENING_AGAIN_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        return None

    async def _relay_jobs(self, ports: Ports, broker: Broker, threads: int) -> None:
        assert ports.outbox is not None, "settings forbid workers where records are in memory"
        attempts = Attempts(ports, ports.outbox, self._settings, self._actors)
        self._relay = relay = Relay(attempts, channel(broker), threads)
        try:
            with hear_of_jobs(self._settings, relay.wake):
                self._has_opened.set()
                log.info("worker works", extra={"actors": sorted(self._actors), "threads": threads})
                stopping = asyncio.create_task(self._pass_on_stop(relay))
                await relay.run()
                await stopping
        finally:
            log.info("worker stopped", extra=asdict(attempts.tally))
            await close_ports(ports, self._settings)

    async def _pass_on_stop(self, relay: Relay) -> None:
        await self._stopping.wait()
        await relay.stop()

    async def _stop(self) -> None:
        self._stopping.set()
        assert self._life is not None, "what shuts down has booted"
        life = asyncio.wrap_future(self._life)
        _, running = await asyncio.wait([life], timeout=self._settings.worker.shutdown_timeout_seconds)
        if running:
            log.warning("jobs are interrupted")


def _on_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    thread = get_event_loop_thread()
    assert thread is not None, "a worker that has booted has a loop"
    return asyncio.run_coroutine_threadsafe(work, thread.loop)
