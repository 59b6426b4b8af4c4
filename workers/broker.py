"""Dramatiq's broker, and the transport of jobs into it. Brokers store nothing: the database is the queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import dramatiq
from dramatiq import Broker, Message, Middleware
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import dq_name
from dramatiq.middleware import AsyncIO, Interrupt, ShutdownNotifications, TimeLimit
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from tusd_py.model.jobs import Job
from tusd_py.settings import Settings
from tusd_py.threads import in_executor

QUEUE = "jobs"
_OUTAGE_LINE_SECONDS = 60.0
_NAMESPACE = "tusd-py"
_LOOP_START_SECONDS = 60.0
_REDIS_SECONDS = 5.0

# Redis may take _REDIS_SECONDS for each call.
_redis_threads = ThreadPoolExecutor(8, "redis")

Perform = Callable[[int, int], Coroutine[Any, Any, None]]


class OutageLines(logging.Filter):
    """Limits what Dramatiq logs while Redis cannot be reached: one warning a minute.

    Its consumers report every attempt as critical, each by itself, though they try again, and no job is lost.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next_at = 0.0

    def install(self) -> None:
        """Add this filter to the loggers of Dramatiq's consumers."""
        for queue in (QUEUE, dq_name(QUEUE)):
            logging.getLogger(f"dramatiq.worker.ConsumerThread({queue})").addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.CRITICAL:
            return True
        if self._clock() < self._next_at:
            return False
        self._next_at = self._clock() + _OUTAGE_LINE_SECONDS
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.reason = record.getMessage().rpartition("error: ")[2]
        record.msg, record.args = "Redis cannot be reached, retrying", ()
        return True


class JobTransport(Protocol):
    """Carries jobs from the dispatcher to the actors."""

    @property
    def is_shared(self) -> bool:
        """Whether the actors of other processes receive them too."""
        ...

    async def workers(self, within_seconds: float) -> int:
        """How many workers have polled the queue in this time. Raises ``ConnectionError`` without a broker."""
        ...

    async def send(self, job: Job) -> None:
        """Pass a job to the actors. Raises ``ConnectionError``."""
        ...


class LocalTransport:
    """A queue in the memory of this process, no longer than the number of threads."""

    is_shared = False

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def workers(self, within_seconds: float) -> int:
        return 1

    async def send(self, job: Job) -> None:
        self._broker.enqueue(_message(job))


class RedisTransport:
    """A queue in Redis for the actors of all workers. A job that Redis loses is dispatched again after its lease."""

    is_shared = True

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    async def workers(self, within_seconds: float) -> int:
        return max(1, await in_executor(_redis_threads, self._count_heartbeats, within_seconds))

    async def send(self, job: Job) -> None:
        await in_executor(_redis_threads, self._enqueue, job)

    def _count_heartbeats(self, within_seconds: float) -> int:
        # Dramatiq stores here when each worker last asked for jobs, in milliseconds of that worker's clock.
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


class ActorEventLoop(AsyncIO):
    """The event loop of the actors. Dramatiq allows one second for its start; a busy machine needs more."""

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        thread = EventLoopThread(self.logger)
        # At a second SIGTERM Dramatiq exits without stopping the loop, and the exit would wait for its thread forever.
        thread.daemon = True
        thread.start(timeout=_LOOP_START_SECONDS)
        set_event_loop_thread(thread)


def make_broker(settings: Settings, lifespan: Middleware) -> Broker:
    """The broker that ``worker.broker`` names. ``lifespan`` runs on the event loop of the actors.

    Dramatiq's own retries are not used: failed jobs stay in the database, where they outlive this process.
    """
    limit = TimeLimit(time_limit=settings.worker.time_limit_seconds * 1000)
    middleware = [ActorEventLoop(), lifespan, limit, ShutdownNotifications(notify_shutdown=True)]
    if settings.broker_url == "embedded":
        return StubBroker(middleware)
    pool = ConnectionPool.from_url(
        settings.broker_url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
    )
    client = Redis(connection_pool=pool)
    OutageLines().install()
    # Dramatiq is only partly typed.
    return RedisBroker(client=client, middleware=middleware, namespace=_NAMESPACE)  # type: ignore[no-untyped-call]


def job_transport(broker: Broker) -> JobTransport:
    """The transport into ``broker``."""
    return RedisTransport(broker) if isinstance(broker, RedisBroker) else LocalTransport(broker)


def declare(broker: Broker, names: Iterable[str], perform: Perform) -> None:
    """Declare the actors to ``broker``; each runs ``perform(job_id, token)`` on the event loop."""

    def run(job_id: int, token: int) -> None:
        thread = get_event_loop_thread()
        assert thread is not None, "the event loop starts before the worker"
        try:
            thread.run_coroutine(perform(job_id, token))
        except Interrupt:
            return  # the time limit, or the worker stops: the coroutine was cancelled and has returned its job

    for name in names:
        dramatiq.actor(actor_name=name, queue_name=QUEUE, broker=broker)(run)


def _message(job: Job) -> Message[None]:
    return Message(queue_name=QUEUE, actor_name=job.actor, args=(job.id, job.token), kwargs={}, options={})
