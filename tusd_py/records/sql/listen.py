"""Receives the notifications of a PostgreSQL database, on one connection for each event loop.

psycopg is imported at the first use: a server with SQLite must not load it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

#: The channel that wakes workers; PostgreSQL keeps the channels of databases apart.
JOBS_CHANNEL = "tusd_py_jobs"

_RECONNECT_SECONDS = 0.5
#: Some networks forget a silent connection: it is checked this often.
_PROBE_SECONDS = 30.0
_ANSWER_SECONDS = 10.0

OnNotification = Callable[[str], None]


@contextmanager
def listening(url: str, channels: Mapping[str, OnNotification]) -> Iterator[None]:
    """Call the function of a channel on this event loop with the text of each notification, while the block runs.

    Notifications may be lost, while the connection is down: a function is called with an empty text when it is up
    again. Through a pooler that passes a session's connection on (PgBouncer in transaction mode) none would come, so
    nothing listens there.
    """
    task = asyncio.get_running_loop().create_task(_listen(url, channels))
    try:
        yield
    finally:
        task.cancel()


async def _listen(url: str, channels: Mapping[str, OnNotification]) -> None:
    import psycopg

    from tusd_py.records.sql.postgres import connect_async, is_pooled, unavailable

    reason = ""
    while True:
        try:
            connection = await connect_async(url)
            async with connection:
                if is_pooled(connection):
                    log.warning(
                        "a pooler is in front of PostgreSQL: notifications of other processes are not heard",
                        extra={"advice": "set records.listen_url to the URL of PostgreSQL itself"},
                    )
                    return
                for channel in channels:
                    await connection.execute(f"LISTEN {channel}".encode())
                if reason:
                    log.info("PostgreSQL notifies this process again")
                    reason = ""
                for on_notification in channels.values():
                    on_notification("")
                await _receive(connection, channels)
        except (psycopg.Error, TimeoutError) as error:
            text = str(unavailable(error)) if isinstance(error, psycopg.Error) else "no answer"
            if text != reason:
                reason = text
                log.warning("PostgreSQL does not notify this process, retrying", extra={"reason": reason})
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _receive(connection: psycopg.AsyncConnection[object], channels: Mapping[str, OnNotification]) -> None:
    while True:
        async for notification in connection.notifies(timeout=_PROBE_SECONDS):
            channels[notification.channel](notification.payload)
        async with asyncio.timeout(_ANSWER_SECONDS):
            await connection.execute("SELECT 1")
