"""The cache of published keys: rotation, unknown key ids, and a URL that is down."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.tokens import Signer, key_set
from tusd_py.access.errors import KeysUnavailable
from tusd_py.access.jwks import REFRESH_SECONDS, UNKNOWN_SECONDS, JwksCache
from tusd_py.access.verification_keys import VerificationKey
from tusd_py.contracts.key_set import FetchFailed

pytestmark = pytest.mark.anyio

ONE, TWO = Signer("one"), Signer("two")


class Provider:
    """A URL with a key set, and the time."""

    def __init__(self, document: bytes = b"") -> None:
        self.document = document
        self.fetched = 0
        self.now = 1000.0
        self.gate: asyncio.Event | None = None
        self.cache = JwksCache(self.fetch, lambda: self.now)

    async def fetch(self) -> bytes:
        self.fetched += 1
        if self.gate is not None:
            await self.gate.wait()
        if not self.document:
            raise FetchFailed("down")
        return self.document


async def test_one_fetch_for_many_requests() -> None:
    """Requests that arrive together fetch the set once."""
    provider = Provider(key_set(ONE))
    found = await asyncio.gather(*(provider.cache.find("one") for _ in range(50)))
    assert all(found)
    assert provider.fetched == 1


async def test_unknown_key_id_is_fetched_once_a_minute() -> None:
    """A rotated key is found at once; unknown key ids cause at most one fetch a minute, however many come."""
    provider = Provider(key_set(ONE))
    assert await provider.cache.find("one")
    provider.document = key_set(ONE, TWO)
    provider.now += UNKNOWN_SECONDS
    assert await provider.cache.find("two")
    assert provider.fetched == 2
    for number in range(100):
        assert await provider.cache.find(f"made up {number}") is None
    assert provider.fetched == 2
    provider.now += UNKNOWN_SECONDS
    assert await asyncio.gather(*(provider.cache.find(f"again {number}") for number in range(100))) == [None] * 100
    assert provider.fetched == 3


async def test_removed_key_is_forgotten() -> None:
    """A key that is no longer published is refused after the next regular fetch; the generation tells the caches."""
    provider = Provider(key_set(ONE, TWO))
    assert await provider.cache.find("two")
    generation = provider.cache.generation
    provider.now += REFRESH_SECONDS
    assert provider.cache.is_stale(provider.now)
    await provider.cache.refresh()
    assert provider.cache.generation == generation, "the same keys"
    provider.document = key_set(ONE)
    provider.now += REFRESH_SECONDS
    assert await provider.cache.find("two") is None
    assert provider.cache.generation == generation + 1


@pytest.mark.parametrize("document", [b"", b"<html>", b'{"keys": []}'])
async def test_old_keys_are_served_while_the_url_is_down(document: bytes) -> None:
    """If the URL is down or has no keys, the known ones stay valid, and it is asked once a minute."""
    provider = Provider(key_set(ONE))
    assert await provider.cache.find("one")
    provider.document = document
    provider.now += REFRESH_SECONDS
    for _ in range(10):
        assert await provider.cache.find("one")
    assert provider.fetched == 2


async def test_no_key_at_all() -> None:
    """Without any key no token is refused as invalid; the URL is tried again after seconds."""
    provider = Provider()
    for _ in range(10):
        with pytest.raises(KeysUnavailable):
            await provider.cache.find("one")
    assert provider.fetched == 1
    provider.document = key_set(ONE)
    provider.now += 5
    assert await provider.cache.find("one")


async def slow_answers(document: bytes) -> list[object]:
    """What 20 requests get that arrive while the URL takes six seconds for its first answer; it is asked once."""
    provider = Provider(document)
    provider.gate = asyncio.Event()
    waiting = [asyncio.create_task(provider.cache.find("one")) for _ in range(10)]
    await asyncio.sleep(0)
    provider.now += 6
    waiting += [asyncio.create_task(provider.cache.find("one")) for _ in range(10)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    provider.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert provider.fetched == 1
    return list(answers)


async def test_first_requests_wait_for_the_keys() -> None:
    """Tokens that arrive while the first set is being fetched are verified with it, not refused."""
    assert all(isinstance(answer, VerificationKey) for answer in await slow_answers(key_set(ONE)))


@pytest.mark.parametrize("document", [b"", b"<html>", b'{"keys": []}'])
async def test_all_wait_for_one_slow_attempt(document: bytes) -> None:
    """If the URL takes its time and then fails, all waiting requests are answered at its end, not one after another."""
    assert all(isinstance(answer, KeysUnavailable) for answer in await slow_answers(document))


async def test_known_keys_do_not_wait_for_a_fetch() -> None:
    """While the set is fetched again, tokens with known keys are verified without waiting."""
    provider = Provider(key_set(ONE))
    assert await provider.cache.find("one")
    provider.now += REFRESH_SECONDS
    provider.gate = asyncio.Event()
    waiting = asyncio.create_task(provider.cache.find("one"))
    await asyncio.sleep(0)
    assert provider.fetched == 2
    assert not provider.cache.is_stale(provider.now)
    assert await asyncio.wait_for(provider.cache.find("one"), 5)
    provider.gate.set()
    assert await waiting


async def test_cancelled_fetch_is_repeated() -> None:
    """If the client that caused a fetch goes away, the next one fetches."""
    provider = Provider(key_set(ONE))
    provider.gate = asyncio.Event()
    waiting = asyncio.create_task(provider.cache.find("one"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    provider.gate.set()
    assert await provider.cache.find("one")


async def test_token_without_key_id() -> None:
    """A token without a key id is verified with the only key; among several none is guessed."""
    provider = Provider(key_set(ONE))
    assert await provider.cache.find(None)
    provider = Provider(key_set(ONE, TWO))
    assert await provider.cache.find(None) is None
