"""Many clients append to the same uploads on several servers: what all of them saw has to fit one growing offset."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.golang import porcupine_program
from tests.support.histories import APPENDS_MAX, Append, History, Operation, Read, steps, violation
from tests.support.machines import Machines, at_server, machines
from tests.support.postgres import shared_server
from tests.support.redis import restartable_redis
from tests.support.stored import upload_id

LEASE_SECONDS = 1
LENGTH = 1_500_000
CLIENTS = 4
#: Requests of all clients to append to one upload; then one client alone brings it to its end.
APPENDS = APPENDS_MAX - 55

GOOD: dict[str, list[Operation]] = {
    "one after the other": [Append(0, 1, 0, 5), Read(2, 3, 5), Append(4, 5, 5, 9), Read(6, 7, 9)],
    "a read during an append sees a part": [Append(0, 5, 0, 9), Read(1, 2, 4), Read(3, 4, 9)],
    "a read during an append sees nothing of it": [Append(0, 5, 0, 9), Read(1, 2, 0)],
    "two reads at once see different offsets": [Append(0, 9, 0, 9), Read(1, 5, 9), Read(2, 6, 3)],
    "an unknown append is stored late": [Append(0, None, 0, 5), Read(1, 2, 0), Read(3, 4, 5)],
    "half of an unknown append, then another": [Append(0, None, 0, 3), Append(1, 2, 3, 9), Read(3, 4, 9)],
}
WRONG: dict[str, list[Operation]] = {
    "a read after an acknowledgement sees less": [Append(0, 1, 0, 5), Read(2, 3, 4)],
    "a read after a read sees less": [Append(0, None, 0, 9), Read(1, 2, 9), Read(3, 4, 8)],
    "an append begins below what was acknowledged": [Append(0, 1, 0, 5), Append(2, 3, 4, 9)],
    "an append begins below what was read": [Append(0, None, 0, 5), Read(1, 2, 5), Append(3, 4, 3, 9)],
    "more is read than was sent by then": [Append(0, 1, 0, 5), Read(2, 3, 6), Append(4, 5, 5, 9)],
    "less is stored at the end than was acknowledged": [Append(0, 1, 0, 5), Append(2, 3, 5, 9), Read(4, 5, 5)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name: str) -> None:
    """What servers that agree can answer is no violation."""
    assert violation(GOOD[name]) is None


@pytest.mark.parametrize("name", WRONG)
def test_wrong_histories_are_found(name: str) -> None:
    """What no growing offset explains is a violation."""
    assert violation(WRONG[name]) is not None


def test_bytes_of_other_requests_are_found() -> None:
    """The stored bytes have to be those of requests, each once, at its place, and all that was acknowledged."""

    def closed(stored: Callable[[bytes, bytes], bytes]) -> str | None:
        history = History(9)
        first, one = history.begin(0, 4)
        _, two = history.begin(4, 3)
        history.end(first, 4)
        return history.close(stored(one, two))

    assert closed(lambda one, two: one) is None
    assert closed(lambda one, two: one + two[:1]) is None
    assert "of no request" in str(closed(lambda one, two: one + b"\xff"))
    assert "elsewhere" in str(closed(lambda one, two: one + two + one))
    assert "up to 3" in str(closed(lambda one, two: one[:3] + two))
    assert "are at 0" in str(closed(lambda one, two: two))
    assert "up to 5" in str(closed(lambda one, two: one + one[:1]))
    assert "up to 8" in str(closed(lambda one, two: one + two + two[:1]))
    assert "not stored" in str(closed(lambda one, two: b""))


def referee(histories: list[list[Operation]]) -> list[bool]:
    """What Porcupine says of them."""
    given = [
        [
            {
                "is_read": isinstance(operation, Read),
                "started": operation.started,
                "ended": operation.ended,
                "start": operation.offset if isinstance(operation, Read) else operation.start,
                "stop": operation.offset if isinstance(operation, Read) else operation.stop,
            }
            for operation in steps(history)
        ]
        for history in histories
    ]
    answer = subprocess.run([porcupine_program()], input=json.dumps(given), capture_output=True, text=True, check=True)
    verdicts: list[bool] = json.loads(answer.stdout)
    return verdicts


def random_history(dice: random.Random) -> list[Operation]:
    """Requests around a growing offset, of which some see something else than it."""
    operations: list[Operation] = []
    offset = 0
    times = dice.sample(range(1000), 40)
    for _ in range(dice.randint(2, 9)):
        started, ended = sorted((times.pop(), times.pop()))
        if dice.random() < 0.5:
            stop = offset + dice.randint(1, 4)
            operations.append(Append(started, None if dice.random() < 0.3 else ended, offset, stop))
            offset = stop
        else:
            operations.append(Read(started, ended, dice.randint(0, offset)))
    # Most of these are wrong: times without an order rarely fit. So half of them are put in order.
    if dice.random() < 0.5:
        clock = iter(sorted(dice.sample(range(2000, 9000), 2 * len(operations))))
        moved: list[Operation] = []
        for one in operations:
            started = next(clock) - dice.randint(0, 900)
            if isinstance(one, Read):
                moved.append(Read(started, next(clock), one.offset))
            else:
                moved.append(replace(one, started=started, ended=None if one.ended is None else next(clock)))
        operations = moved
        moments = [at for one in operations for at in (one.started, one.ended) if at is not None]
        if len(moments) != len(set(moments)):
            return random_history(dice)
    return operations


@pytest.mark.long
def test_checker_agrees_with_porcupine() -> None:
    """The one pass comes to Porcupine's verdict for the histories above and for random ones."""
    dice = random.Random(7)
    histories = [*GOOD.values(), *WRONG.values(), *(random_history(dice) for _ in range(3000))]
    own = [violation(history) is None for history in histories]
    verdicts = referee(histories)
    assert [] == [history for history, one, other in zip(histories, own, verdicts, strict=True) if one != other]
    print(f"{len(own)} histories, {own.count(True)} of them good")
    assert 300 < own.count(True) < len(own) - 300


@dataclass
class Crowd:
    """Clients that append to one upload at the same time, each request at any of the servers."""

    machines: Machines
    url: str
    history: History
    seed: int
    statuses: Counter[str] = field(default_factory=Counter)

    async def client(self, number: int) -> None:
        """Ask for the offset and append from there, until there have been enough requests."""
        dice = random.Random(f"{self.seed} {number}")
        while self.history.appends < APPENDS:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(20):
                    await self._one(dice)
            await asyncio.sleep(dice.uniform(0, 0.05))

    async def finish(self) -> None:
        """Bring the upload to its end."""
        while (offset := await self._offset(random.Random(self.seed))) != LENGTH:
            if offset is not None:
                await self._append(offset, LENGTH - offset, self._anywhere(random.Random(offset)), stalls=False)

    def _anywhere(self, dice: random.Random) -> str:
        return at_server(self.url, dice.choice(self.machines.servers))

    async def _offset(self, dice: random.Random) -> int | None:
        started = self.history.now()
        answer = await request("HEAD", self._anywhere(dice), TUS)
        self.statuses[f"HEAD {answer.status}"] += 1
        assert answer.status in (200, 423), answer
        if answer.offset is not None:
            self.history.read(started, answer.offset)
        return answer.offset

    async def _one(self, dice: random.Random) -> None:
        offset = await self._offset(dice)
        if offset is not None and self.history.appends < APPENDS:
            count = min(dice.choice([1, 100, 5000, 20_000]), LENGTH - APPENDS_MAX - offset)
            if count > 0:
                # A client that stalls is interrupted by the next one, and what came before is kept.
                await self._append(offset, count, self._anywhere(dice), stalls=dice.random() < 0.4)

    async def _append(self, offset: int, count: int, url: str, *, stalls: bool) -> None:
        number, body = self.history.begin(offset, count)
        connection = await Connection.open(url)
        try:
            await connection.send_head("PATCH", url, patch_headers(offset, count))
            answer = await connection.answer_while(self._send(connection, body, stalls=stalls), 15)
        finally:
            connection.close()
        self.statuses[f"PATCH {answer.status}"] += 1
        assert answer.status in (204, 400, 409, 423, 503), answer
        if answer.status == 204:
            assert answer.offset is not None
            self.history.end(number, answer.offset)

    async def _send(self, connection: Connection, body: bytes, *, stalls: bool) -> None:
        half = len(body) // 2
        await connection.send(body[:half])
        if stalls:
            await asyncio.sleep(0.3)
        await connection.send(body[half:])


async def run(directory: Path, locking: str, servers: int, uploads: int, kills: int) -> list[History]:
    """Let crowds work on ``uploads`` while servers are killed; check what they saw, and return it."""
    settings = {
        "LOCKING__KIND": locking,
        "LOCKING__LEASE_SECONDS": str(LEASE_SECONDS),
        "UPLOADS__LOCK_TIMEOUT_SECONDS": "2",
        # Saves within small bodies too, as large ones have them.
        "UPLOADS__SAVE_INTERVAL_SECONDS": "0.1",
        "UPLOADS__SAVE_SMALL_SECONDS": "0.1",
    }
    with ExitStack() as stack:
        if locking == "redis":
            settings["REDIS__URL"] = stack.enter_context(restartable_redis()).url
        nodes = stack.enter_context(machines(directory, servers, shared_server(), settings))
        urls = [await create(nodes.servers[0].url, LENGTH) for _ in range(uploads)]
        crowds = [Crowd(nodes, url, History(LENGTH), seed) for seed, url in enumerate(urls)]
        async with asyncio.TaskGroup() as group:
            for crowd in crowds:
                for number in range(CLIENTS):
                    group.create_task(crowd.client(number))
            for number in range(kills):
                enough = APPENDS * uploads * (number + 1) // (kills + 1)
                while sum(crowd.history.appends for crowd in crowds) < enough:  # noqa: ASYNC110 - a counter
                    await asyncio.sleep(0.01)
                nodes.servers[number % servers].kill()
                await asyncio.to_thread(nodes.replace, number % servers)
        for crowd in crowds:
            await crowd.finish()
            stored = (directory / "data" / "uploads" / upload_id(crowd.url)).read_bytes()
            assert LENGTH == len(stored)
            assert crowd.history.close(stored) is None
            assert violation(crowd.history.operations) is None
    print(sum((crowd.statuses for crowd in crowds), Counter()))
    return [crowd.history for crowd in crowds]


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.timeout(400)
@pytest.mark.parametrize("locking", ["redis", "records"])
async def test_three_servers_agree_on_the_offset(tmp_path: Path, locking: str) -> None:
    """Four clients for each of six uploads, three servers, six kills: all saw one offset that only grows.

    Porcupine says the same.
    """
    histories = await run(tmp_path, locking, servers=3, uploads=6, kills=6)
    assert [True] * len(histories) == referee([history.operations for history in histories])
    print(f"{sum(len(history.operations) for history in histories)} operations")
