"""The memory of a server while many clients upload to S3 stays within the budget and a constant for each client."""

from __future__ import annotations

import pytest

from benchmarks.s3_memory import measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

KIB, MIB = 1024, 1024**2
BUDGET = 64 * MIB
#: What was read ahead of a fast client (1 MiB), what is handed over, and its buffers. Measured: 2.8 MiB.
FAST_CLIENT_BYTES = 5 * MIB
#: A connection with its request, and what is being saved. Measured: 70 to 100 KiB.
SLOW_CLIENT_BYTES = 256 * KIB


def test_hundred_uploads_at_full_speed() -> None:
    """All of them end, and memory is bounded whatever they bring."""
    found = measure(100, 8 * MIB, budget=BUDGET)
    assert found.beyond_budget < 100 * FAST_CLIENT_BYTES, found


def test_thousand_slow_uploads() -> None:
    """None of them fails because their saves are due at the same time."""
    found = measure(1000, 64 * KIB, budget=BUDGET, rate=1000.0, seconds=20.0)
    assert found.beyond_budget < 1000 * SLOW_CLIENT_BYTES, found
