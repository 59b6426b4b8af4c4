"""Which events become jobs, whether that needs a worker, and how a worker hears of new jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tusd_py.hooks.delivery.endpoints import configured_endpoints
from tusd_py.model.events import EventType
from tusd_py.model.jobs import Subscription
from tusd_py.notify.wakeup import subscribe
from tusd_py.records.sql.listen import JOBS_CHANNEL, listening
from tusd_py.settings import Settings
from tusd_py.wiring.data_directory import make_data_dir, wake_directory
from tusd_py.wiring.lockers import listen_url


def subscriptions(settings: Settings) -> tuple[Subscription, ...]:
    """The subscriptions to events; none with records in memory, which have no worker."""
    if not settings.has_database:
        return ()
    found = [
        Subscription(name=each.name, actor="webhooks", types=each.types, is_ordered=each.is_ordered)
        for each in configured_endpoints(settings)
    ]
    if settings.events.record:
        found.append(Subscription(name="events.record", actor="", types=frozenset(EventType)))
    return tuple(found)


def has_backups(settings: Settings) -> bool:
    """Whether a schedule makes backups, each a job of a worker."""
    return bool(settings.schedules.backup_directory and settings.schedules.backup)


def needs_worker(settings: Settings) -> bool:
    """Whether the settings enable anything that only a worker does."""
    return bool(settings.steps) or has_backups(settings) or any(each.actor for each in subscriptions(settings))


@contextmanager
def subscribe_to_jobs(settings: Settings, on_jobs: Callable[[], None]) -> Iterator[None]:
    """Call ``on_jobs`` on this event loop soon after any process has added jobs. A wake-up may be missed."""
    make_data_dir(settings)
    with ExitStack() as stack:
        stack.enter_context(subscribe(wake_directory(settings), on_jobs))
        url = listen_url(settings)
        if url is not None:
            # Jobs that another machine has added.
            stack.enter_context(listening(url, {JOBS_CHANNEL: lambda _: on_jobs()}))
        yield
