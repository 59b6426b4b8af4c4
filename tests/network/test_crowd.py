"""Many idle and slow connections at once: what each costs, and that no other request waits for them.

``python -m benchmarks.scale`` measures the same with ten thousand idle and two thousand slow ones.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.scale import measure
from tests.support.server import RunningServer
from tests.support.stacks import every_stack

pytestmark = [pytest.mark.timeout(300), every_stack]

# The pools of the disk (16, 4 and 2), one for records, one for each processor, and the main thread.
THREADS_MAX = 40
#: Other programs may take the processors during one measurement, not during all.
MEASUREMENTS_MAX = 4


@pytest.mark.parametrize(
    ("idle", "slow", "start"),
    [
        (200, 120, "zero-copy"),
        pytest.param(500, 300, "zero-copy", marks=pytest.mark.long),
        pytest.param(500, 300, "read", marks=pytest.mark.long),
    ],
    indirect=["start"],
)
def test_many_idle_and_slow_connections(start: Callable[..., RunningServer], idle: int, slow: int) -> None:
    """None is dropped; a slow upload takes less than 40 KiB, an idle connection less than half of it, and no thread."""
    medians: list[tuple[float, float]] = []
    while len(medians) < MEASUREMENTS_MAX:
        server = start()
        scale = measure(server.url, server.process.pid, idle, slow, rounds=1, probes=200)
        print(scale)
        assert (scale.still_idle, scale.still_slow) == (idle, slow)
        assert scale.kib_per_slow < 40
        assert scale.kib_per_idle < 20
        assert scale.threads < THREADS_MAX
        medians.append((scale.alone_p50_ms, scale.beside_p50_ms))
        if scale.beside_p50_ms < 2 * scale.alone_p50_ms + 5:
            return
        server.kill()
    pytest.fail(f"small uploads wait for the slow ones: {medians}")
