"""Random histories of creations that several processes count in one Redis, over midnight and turns of the year."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace

import limits.aio.storage.redis.redispy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.redis import running_redis
from tusd_py.access import redis_counter
from tusd_py.access.rates import CreationRate
from tusd_py.access.redis_counter import RedisCounter
from tusd_py.protocol.access_errors import TooManyCreations

pytestmark = pytest.mark.long

PROCESSES, PER_OWNER, PER_ADDRESS, WINDOW_SECONDS = 3, 3, 5, 60
_examples = count()

#: How much later than the one before some creations begin at the same moment: in which process, whose, from where.
CREATIONS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.lists(
            st.tuples(
                st.integers(0, PROCESSES - 1), st.sampled_from(["", "alice", "bob"]), st.sampled_from(["a", "b"])
            ),
            min_size=1,
            max_size=6,
        ),
    ),
    max_size=12,
)
STARTS = st.sampled_from(
    [datetime(2026, 12, 31, 23, 59, 40, tzinfo=UTC), datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC)]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STARTS, CREATIONS)
def _history(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    start: datetime,
    creations: list[tuple[int, list[tuple[int, str, str]]]],
) -> None:
    clock = SimpleNamespace(now=start.timestamp())
    monkeypatch.setattr(limits.aio.storage.redis.redispy, "time", SimpleNamespace(time=lambda: clock.now))
    monkeypatch.setattr(redis_counter, "time", lambda: clock.now)
    example = next(_examples)
    allowed: dict[str, list[float]] = defaultdict(list)

    async def attempt(rate: CreationRate, owner: str, address: str) -> bool:
        try:
            await rate.ensure_allowed(owner and f"{owner}{example}", f"{address}{example}")
        except TooManyCreations as refused:
            assert 1 <= (refused.retry_after_seconds or 0) <= WINDOW_SECONDS + 1
            return False
        return True

    async def run() -> None:
        counters = [RedisCounter(url, answer_seconds=60.0) for _ in range(PROCESSES)]
        rates = [CreationRate(counter=each, per_minute=PER_OWNER, per_address=PER_ADDRESS) for each in counters]
        raced_at = 0.0
        for seconds, together in creations:
            clock.now += seconds + 0.001
            results = await asyncio.gather(*(attempt(rates[process], *who) for process, *who in together))
            for (_, owner, address), was_allowed in zip(together, results, strict=True):
                names = {f"user:{owner}" if owner else f"anonymous:{address}", f"from:{address}"}
                recent = {name: sum(at > clock.now - WINDOW_SECONDS for at in allowed[name]) for name in names}
                if was_allowed:
                    for name in names:
                        allowed[name].append(clock.now)
                elif len(together) > 1:
                    raced_at = clock.now
                elif clock.now - raced_at > WINDOW_SECONDS:
                    # Refused where a limit is reached only. (Of two at once, one may count for its owner in vain.)
                    assert any(
                        recent[name] >= (PER_ADDRESS if name.startswith("from:") else PER_OWNER) for name in names
                    )
            for name, times in allowed.items():
                limit = PER_ADDRESS if name.startswith("from:") else PER_OWNER
                assert sum(at > clock.now - WINDOW_SECONDS for at in times) <= limit, name
        for each in counters:
            await each.close()

    asyncio.run(run())


def test_creations_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever creates what where and when: never more than a limit permits, and nothing is refused that fits."""
    with running_redis() as url:
        _history(url, monkeypatch)
