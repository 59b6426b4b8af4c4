"""Server and worker are killed at random: every job is done in the end, and each event has one id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.chaos import Chaos
from tests.support.postgres import shared_server
from tests.support.redis import running_redis

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["embedded", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "embedded":
        yield "embedded"
    else:
        with running_redis() as url:
            yield url


@pytest.mark.anyio
async def test_killed_eight_times_during_sixty_uploads(tmp_path: Path, broker: str) -> None:
    """Each upload is concatenated, validated and published once; events arrive in order, repeated ones with one id.

    Redis loses everything at each kill.
    """
    chaos = Chaos(tmp_path / "data", broker, uploads=60, kills=8, seed=3)
    chaos.mode = "link" if broker == "embedded" else "copy"
    await chaos.run()
    assert 8 == sum(chaos.killed.values())
    assert {"both", "server", "worker"} == set(chaos.killed), "the random choices of this seed"
    assert (60, 15) == (len(chaos.sent), chaos.concatenated)
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, delivered again {chaos.redelivered}")


@pytest.mark.long
@pytest.mark.anyio
async def test_killed_and_postgresql_restarted_during_sixty_uploads(tmp_path: Path) -> None:
    """The same with records in PostgreSQL, which is restarted, in order and by a crash, among the kills."""
    chaos = Chaos(tmp_path / "data", "embedded", uploads=60, kills=10, seed=4, database=shared_server())
    await chaos.run()
    assert 2 <= chaos.killed["database"], "the random choices of this seed"
    assert (60, 15) == (len(chaos.sent), chaos.concatenated)
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, delivered again {chaos.redelivered}")
