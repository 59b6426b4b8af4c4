"""Random histories of rates: never over a limit, nothing refused that fits, and nothing left when all has ended."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual_time import VirtualTimeLoop
from tusd_py.access.bandwidth import Bandwidth, BodyPace
from tusd_py.access.body_slots import BodySlots
from tusd_py.access.local_counter import LocalCounter
from tusd_py.access.rates import CreationRate
from tusd_py.protocol.access_errors import TooManyBodies, TooManyCreations

PER_OWNER, PER_ADDRESS = 3, 5
WINDOW_SECONDS = 60
KIB = 1024

#: Creations: who, from where, and how much later than the one before.
CREATIONS = st.lists(
    st.tuples(st.sampled_from(["", "alice", "bob"]), st.sampled_from(["a", "b"]), st.integers(0, 40)), max_size=40
)


@settings(max_examples=100, deadline=None)
@given(CREATIONS)
def test_creation_is_allowed_only_below_the_rate(creations: list[tuple[str, str, int]]) -> None:
    """A creation is allowed if, and only if, the last minute has fewer allowed ones of its owner and its address."""
    clock = SimpleNamespace(now=1000.25)
    rate = CreationRate(counter=LocalCounter(lambda: clock.now), per_minute=PER_OWNER, per_address=PER_ADDRESS)
    allowed: dict[str, list[float]] = defaultdict(list)

    async def run() -> None:
        for owner, address, seconds in creations:
            # Never exactly a window after another creation, where both answers are right.
            clock.now += seconds + 0.001
            subject = f"user:{owner}" if owner else f"anonymous:{address}"
            recent = [
                sum(at > clock.now - WINDOW_SECONDS for at in allowed[name]) for name in (subject, f"from:{address}")
            ]
            fits = recent[0] < PER_OWNER and recent[1] < PER_ADDRESS
            try:
                await rate.ensure_allowed(owner, address)
            except TooManyCreations as refused:
                assert not fits, (owner, address)
                assert 1 <= (refused.retry_after_seconds or 0) <= WINDOW_SECONDS + 1
            else:
                assert fits, (owner, address)
                allowed[subject].append(clock.now)
                allowed[f"from:{address}"].append(clock.now)

    asyncio.run(run())


#: Bodies: which upload does something, what, and how much later.
TAKES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["take", "take", "take", "end"]), st.floats(0, 2)), max_size=60
)


@settings(max_examples=100, deadline=None)
@given(TAKES, st.sampled_from([0, 200 * KIB]), st.sampled_from([0, 300 * KIB]))
def test_uploads_get_no_more_bytes_than_their_rates_permit(
    takes: list[tuple[int, str, float]], per_upload: int, per_owner: int
) -> None:
    """Whatever begins, ends and resumes: uploads get no more bytes than their rates permit, and a turn each."""
    if not per_upload and not per_owner:
        return
    bandwidth, now = Bandwidth(per_upload, per_owner), 0.0
    paces: dict[int, BodyPace] = {}
    taken: dict[int, int] = defaultdict(int)
    turn_max = 0
    for upload, action, seconds in takes:
        now += seconds
        pace = paces.get(upload)
        if pace is None:
            pace = paces[upload] = bandwidth.pace("user:a", str(upload), now)
        if action == "end":
            paces.pop(upload).close()
        elif not pace.wait_seconds(now):
            turn_max = max(turn_max, pace.turn_bytes)
            taken[upload] += pace.turn_bytes
            pace.charge(pace.turn_bytes, now)
        if per_owner:
            # A body that begins takes one turn before it waits, also while others have not been paid.
            begun = sum(each != "end" for _, each, _ in takes)
            assert sum(taken.values()) <= per_owner * now + begun * turn_max
        for count in taken.values():
            if per_upload:
                assert count <= per_upload * now + 60 * turn_max
    for pace in paces.values():
        pace.close()
    assert all(pacer.is_idle(now + 10**6) for pacer in bandwidth._pacers.values())


#: Requests: for which upload (0: a new one), how long it takes, how much later than the one before, and if it is cut.
REQUESTS = st.lists(
    st.tuples(st.integers(0, 4), st.floats(0, 20), st.floats(0, 3), st.booleans()), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_never_more_uploads_at_once_than_slots(requests: list[tuple[int, float, float, bool]]) -> None:
    """Never more uploads at once than slots, whatever is cut; waits are bounded; in the end every slot is free."""
    running: dict[object, int] = defaultdict(int)
    slots = BodySlots(2, wait_seconds=5)

    async def request(upload: int, seconds: float) -> None:
        began = asyncio.get_running_loop().time()
        key: object = upload or object()
        try:
            async with slots.acquired("user:a", str(upload) if upload else ""):
                assert asyncio.get_running_loop().time() - began <= 5.001
                running[key] += 1
                assert sum(1 for count in running.values() if count) <= 2
                try:
                    await asyncio.sleep(seconds)
                finally:
                    running[key] -= 1
        except TooManyBodies:
            assert 4.999 <= asyncio.get_running_loop().time() - began <= 5.001

    async def run() -> None:
        tasks = []
        for upload, seconds, later, is_cut in requests:
            await asyncio.sleep(later)
            tasks.append(asyncio.create_task(request(upload, seconds)))
            if is_cut:
                asyncio.get_running_loop().call_later(seconds / 2, tasks[-1].cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())
    assert not slots._subjects
