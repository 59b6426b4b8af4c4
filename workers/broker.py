"""Dramatiq's broker as the settings say, and how jobs get into it. Brokers keep nothing: the database is the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

import dramatiq
from dramatiq import Broker, Message, Middleware
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, Interrupt, ShutdownNotifications, TimeLimit
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from tusd_py.model.jobs import Job
from tusd_py.settings import Settings

QUEUE = "jobs"
_NAMESPACE = "tusd-py"
_LOOP_START_SECONDS = 60.0
_REDIS_SECONDS = 5.0

Perform = Callable[[int, int], Coroutine[Any, Any, None]]


class Channel(Protocol):
    """Where the relay puts jobs for the actors to take."""

    @property
    def is_shared(self) -> bool:
        """Whether actors of other processes take them as well."""
        ...

    async def workers(self, within_seconds: float) -> int:
        """How many workers have shown that they take jobs. Raises ``ConnectionError`` without a broker."""
        ...

    async def put(self, job: Job) -> None:
        """Hand a job to the actors. Raises ``ConnectionError``."""
        ...


class OwnChannel:
    """A queue in the memory of this process. The relay gives out no more than there are threads, so it is short."""

    is_shared = False

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def workers(self, within_seconds: float) -> int:
        return 1

    async def put(self, job: Job) -> None:
        self._broker.enqueue(_message(job))


class RedisChannel:
    """A queue in Redis, for the actors of every worker. What Redis loses, the end of its lease brings back."""

    is_shared = True

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    async def workers(self, within_seconds: float) -> int:
        return max(1, await asyncio.to_thread(self._beating, within_seconds))

    async def put(self, job: Job) -> None:
        await asyncio.to_thread(self._enqueue, job)

    def _beating(self, within_seconds: float) -> int:
        # Dramatiq notes there when each of its workers last asked for jobs: milliseconds by that worker's clock.
        since = (time.time() - within_seconds) * 1000
        try:
            return int(self._broker.client.zcount(f"{_NAMESPACE}:__heartbeats__", since, "+inf"))
        except RedisError as error:
            raise ConnectionError(str(error)) from error

    def _enqueue(self, job: Job) -> None:
        try:
            self._broker.enqueue(_message(job))
        except RedisError as error:
            raise ConnectionError(str(error)) from error


class Loop(AsyncIO):
    """The event loop of the actors. Dramatiq gives it one second to start, and a busy machine needs more."""

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        thread = EventLoopThread(self.logger)
        thread.start(timeout=_LOOP_START_SECONDS)
        set_event_loop_thread(thread)


def make_broker(settings: Settings, lifespan: Middleware) -> Broker:
    """The broker that ``worker.broker`` names. ``lifespan`` finds the loop running, and is told before actors are cut.

    Nothing of Dramatiq's own retries: what failed is in the database, and survives this process there.
    """
    limit = TimeLimit(time_limit=settings.worker.time_limit_seconds * 1000)
    middleware = [Loop(), lifespan, limit, ShutdownNotifications(notify_shutdown=True)]
    if settings.worker.broker == "embedded":
        return StubBroker(middleware)
    pool = ConnectionPool.from_url(
        settings.worker.broker, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
    )
    client = Redis(connection_pool=pool)
    # half of the library has types
    return RedisBroker(client=client, middleware=middleware, namespace=_NAMESPACE)  # type: ignore[no-untyped-call]


def channel(broker: Broker) -> Channel:
    """The way into ``broker``."""
    return RedisChannel(broker) if isinstance(broker, RedisBroker) else OwnChannel(broker)


def declare(broker: Broker, names: Iterable[str], perform: Perform) -> None:
    """Make the actors known to ``broker``; each runs ``perform(job_id, token)`` on the event loop."""

    def act(job_id: int, token: int) -> None:
        thread = get_event_loop_thread()
        assert thread is not None, "a worker that has booted has a loop"
        try:
            thread.run_coroutine(perform(job_id, token))
        except Interrupt:
            return  # too slow, or the worker stops: the coroutine was cancelled, and has given its job back

    for name in names:
        dramatiq.actor(actor_name=name, queue_name=QUEUE, broker=broker)(act)


def _message(job: Job) -> Message[None]:
    return Message(queue_name=QUEUE, actor_name=job.actor, args=(job.id, job.token), kwargs={}, options={})
