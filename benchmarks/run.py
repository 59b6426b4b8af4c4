"""Runs scenario after scenario and round after round; the servers take turns within each round."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.figures import Outcome
from benchmarks.load import LoadFailed
from benchmarks.processes import cpu_seconds
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Recipe, Server, ServerUnavailable, running
from benchmarks.tus import UnexpectedAnswer

_QUIET_SECONDS = 0.05
_QUIET_SHARE = 0.05
_IDLE_WAIT_SECONDS_MAX = 1.0

# Failures of a server. The table shows them, and the run continues with the other servers.
_FAILURES = (
    UnexpectedAnswer,
    LoadFailed,
    ServerUnavailable,
    OSError,
    http.client.HTTPException,
    subprocess.SubprocessError,
)


def run(
    scenarios: Sequence[Scenario], recipes: Sequence[Recipe], bench: Bench, rounds: int, log: Callable[[str], None]
) -> dict[str, dict[str, Outcome]]:
    """Measure every scenario on every server and return the outcomes by scenario and server."""
    outcomes: dict[str, dict[str, Outcome]] = {}
    for scenario in scenarios:
        started = time.monotonic()
        measured = [recipe for recipe in recipes if not recipe.is_upper_bound or recipe.name == scenario.upper_bound]
        outcomes[scenario.name] = {recipe.name: Outcome() for recipe in measured}
        measure = _measure_fresh_servers if scenario.fresh_server else _measure_running_servers
        measure(scenario, measured, bench, rounds, outcomes[scenario.name])
        log(f"{scenario.name}: {time.monotonic() - started:.0f} s")
    return outcomes


def _measure_running_servers(
    scenario: Scenario, recipes: Sequence[Recipe], bench: Bench, rounds: int, outcomes: dict[str, Outcome]
) -> None:
    """Start and warm up each server once and measure it in every round, while the others are idle."""
    with ExitStack() as stack:
        servers: list[Server] = []
        for recipe in recipes:
            with _recorded(outcomes[recipe.name]):
                server = stack.enter_context(running(recipe, bench.scratch / recipe.name, bench.cores))
                servers.append(server)
                scenario.warm_up(server, bench)
        for _ in range(rounds):
            for server in servers:
                outcome = outcomes[server.recipe.name]
                if outcome.failure is None:
                    _wait_until_idle(servers)
                    with _recorded(outcome):
                        outcome.add(scenario.measure(server, bench))


def _measure_fresh_servers(
    scenario: Scenario, recipes: Sequence[Recipe], bench: Bench, rounds: int, outcomes: dict[str, Outcome]
) -> None:
    """Start a new process for every round of every server, alone on its core."""
    for _ in range(rounds):
        for recipe in recipes:
            outcome = outcomes[recipe.name]
            if outcome.failure is None:
                with _recorded(outcome), running(recipe, bench.scratch / recipe.name, bench.cores) as server:
                    scenario.warm_up(server, bench)
                    outcome.add(scenario.measure(server, bench))


@contextmanager
def _recorded(outcome: Outcome) -> Iterator[None]:
    """Record a failure of the server in ``outcome``."""
    try:
        yield
    except _FAILURES as failure:
        outcome.failure = f"{type(failure).__name__}: {failure}"


def _wait_until_idle(servers: Sequence[Server]) -> None:
    """Wait until no server still works after its last round (garbage collection, write-back), at most one second."""
    deadline = time.monotonic() + _IDLE_WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        before = sum(cpu_seconds(server.process_id) for server in servers)
        time.sleep(_QUIET_SECONDS)
        if sum(cpu_seconds(server.process_id) for server in servers) - before < _QUIET_SHARE * _QUIET_SECONDS:
            return
