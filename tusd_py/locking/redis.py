"""Leases in Redis, and messages by its publish and subscribe."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tusd_py.contracts.leases import Held, Taken
from tusd_py.contracts.locker import LocksUnavailable
from tusd_py.model.tls import tls_problem

log = logging.getLogger(__name__)

#: How long Redis may take to answer.
_ANSWER_SECONDS = 2.0
_CONNECTIONS_MAX = 16
#: Messages under way; more are lost, as they may be.
_SENDING_MAX = 1000
_SUBSCRIBE_AGAIN_SECONDS = 0.2
#: After so long without a message the subscription is tried with a PING, and after some of them it is made again: the
#: network may lose a connection without telling either end.
_LISTEN_SECONDS = 1.0
_SILENT_MAX = 3
_KEY, _CHANNEL = "tusd-py:lock:{}", "tusd-py:locks:{}"

# A lease that has ended stays known for some time, so that its next owner learns of an owner that has not released it.
# The time is that of Redis: the machines' clocks differ.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function own(owner, milliseconds)
  redis.call('HSET', KEYS[1], 'owner', owner, 'until', now + milliseconds)
  redis.call('PEXPIRE', KEYS[1], milliseconds * 20)
end
local found = redis.call('HMGET', KEYS[1], 'owner', 'until')
"""
_TAKE = (
    _NOW
    + """
if found[1] and found[1] ~= ARGV[1] and tonumber(found[2]) > now then return found[1] end
own(ARGV[1], ARGV[2])
if found[1] and found[1] ~= ARGV[1] then return 'abandoned' end
return ''
"""
)
_RENEW = (
    _NOW
    + """
if found[1] and found[1] ~= ARGV[1] then return 0 end
own(ARGV[1], ARGV[2])
return 1
"""
)
_RELEASE = """
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class RedisLeases:
    """``Leases`` in the Redis server at ``url``, for the running event loop."""

    def __init__(self, url: str) -> None:
        self.address = secrets.token_hex(6)
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=_ANSWER_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            # Once more at once: a connection of the pool may be one to a server that has restarted since.
            retry=Retry(NoBackoff(), 1),
        )
        self._redis = Redis(connection_pool=pool)
        self._take = self._redis.register_script(_TAKE)
        self._renew = self._redis.register_script(_RENEW)
        self._release = self._redis.register_script(_RELEASE)
        self._sending: set[asyncio.Task[None]] = set()
        self._receiving: asyncio.Task[None] | None = None

    def open(self, on_message: Callable[[str], None]) -> None:
        self._receiving = asyncio.create_task(self._receive(on_message))

    async def take(self, key: str, owner: str, seconds: float) -> Taken | Held:
        try:
            answer = await self._take(keys=[_KEY.format(key)], args=[owner, int(seconds * 1000)])
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        found = answer.decode()
        return Taken(found == "abandoned") if found in ("", "abandoned") else Held(found)

    async def renew(self, owners: Collection[tuple[str, str]], seconds: float) -> set[str]:
        todo = list(owners)
        try:
            # A pipeline runs a script by its hash only, and a server that has restarted has none.
            await self._redis.script_load(_RENEW)
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, owner in todo:
                    pipeline.evalsha(self._renew.sha, 1, _KEY.format(key), owner, str(int(seconds * 1000)))
                answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return {key for (key, _), answer in zip(todo, answers, strict=True) if not answer}

    async def release(self, key: str, owner: str) -> None:
        try:
            await self._release(keys=[_KEY.format(key)], args=[owner])
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def send(self, address: str, message: str) -> None:
        if len(self._sending) < _SENDING_MAX:
            task = asyncio.create_task(self._publish(address, message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving])
        if self._sending:
            await asyncio.wait(self._sending)
        await self._redis.aclose(close_connection_pool=True)

    async def _publish(self, address: str, message: str) -> None:
        try:
            await self._redis.publish(_CHANNEL.format(address), message)
        except (RedisError, OSError):
            pass  # messages may be lost

    async def _receive(self, on_message: Callable[[str], None]) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(_CHANNEL.format(self.address))
                    await self._listen(subscription, on_message)
            except (RedisError, OSError):
                await asyncio.sleep(_SUBSCRIBE_AGAIN_SECONDS)

    async def _listen(self, subscription: PubSub, on_message: Callable[[str], None]) -> None:
        """Pass messages on until the connection breaks. Raises ``RedisError`` or ``OSError``."""
        loop = asyncio.get_running_loop()
        silent = 0
        while silent <= _SILENT_MAX:
            began = loop.time()
            message = await subscription.get_message(timeout=_LISTEN_SECONDS)
            if message is not None:
                silent = 0
                if message["type"] == "message":
                    on_message(message["data"].decode())
                continue
            if loop.time() - began < _LISTEN_SECONDS / 2:
                # redis-py takes ETIMEDOUT, with which the system gives up a connection, for the end of this timeout. It
                # would do so again at once each time, and this loop would never let another task run.
                break
            silent += 1
            await subscription.ping()
        raise ConnectionError("the subscription is dead")


def _unavailable(error: Exception) -> LocksUnavailable:
    # The class only, where the text may name the user or repeat the URL.
    detail = str(error) if isinstance(error, RedisError) else type(error).__name__
    problem = tls_problem("it", str(error)) or detail
    return LocksUnavailable(f"Redis, which keeps the locks, cannot be used: {problem}")
