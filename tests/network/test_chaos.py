"""Server and worker are killed at random: every job is done in the end, and each event has one id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.chaos import FINAL_EVERY, Chaos
from tests.support.postgres import shared_server
from tests.support.redis import running_redis

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.long)])
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "embedded":
        yield "embedded"
    else:
        with running_redis() as url:
            yield url


async def run(chaos: Chaos, killed: set[str]) -> None:
    """Run it, and check that it was what it was meant to be."""
    await chaos.run()
    assert chaos.kills == sum(chaos.killed.values())
    assert killed == set(chaos.killed), "the random choices of this seed"
    assert (chaos.uploads, chaos.uploads // FINAL_EVERY) == (len(chaos.sent), chaos.concatenated)
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, delivered again {chaos.redelivered}")


@pytest.mark.anyio
async def test_killed_three_times_with_faults_beside_it(tmp_path: Path, broker: str) -> None:
    """Each upload is concatenated, validated and published once; events arrive in order, repeated ones with one id.

    A second receiver's name is never resolved, the clock is set back by two hours, and Redis refuses writes.
    """
    chaos = Chaos(tmp_path / "data", broker, uploads=20, kills=3, seed=2, has_faults=True)
    await run(chaos, {"both", "server", "worker"})
    assert 2 == chaos.set_back


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("has_faults", [False, True])
@pytest.mark.anyio
async def test_killed_twenty_times_during_200_uploads(tmp_path: Path, broker: str, has_faults: bool) -> None:
    """The same at a larger size. Redis loses everything at each kill."""
    chaos = Chaos(tmp_path / "data", broker, uploads=200, kills=20, seed=3, has_faults=has_faults)
    chaos.mode = "link" if broker == "embedded" else "copy"
    await run(chaos, {"both", "server", "worker"})


@pytest.mark.long
@pytest.mark.anyio
async def test_killed_and_postgresql_restarted_during_sixty_uploads(tmp_path: Path) -> None:
    """The same with records in PostgreSQL, which is restarted, in order and by a crash, among the kills."""
    chaos = Chaos(tmp_path / "data", "embedded", uploads=60, kills=10, seed=5, database=shared_server())
    await chaos.run()
    assert 2 <= chaos.killed["database"], "the random choices of this seed"
    assert (60, 15) == (len(chaos.sent), chaos.concatenated)
    print(f"killed {dict(chaos.killed)}, run again {dict(chaos.rerun)}, delivered again {chaos.redelivered}")
