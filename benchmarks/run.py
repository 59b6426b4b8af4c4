"""The order of a run: scenario by scenario, round by round, the servers taking turns within each round."""

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
_SETTLE_SECONDS_MAX = 1.0

# What a server can do wrong under measurement. It is told in the table; the run goes on with the others.
_FAILURES = (
    UnexpectedAnswer,
    LoadFailed,
    ServerUnavailable,
    OSError,
    http.client.HTTPException,
    subprocess.SubprocessError,
)


def run(
    scenarios: Sequence[Scenario], recipes: Sequence[Recipe], bench: Bench, rounds: int, say: Callable[[str], None]
) -> dict[str, dict[str, Outcome]]:
    """Measure every scenario on every server and return the outcomes by scenario and server."""
    outcomes: dict[str, dict[str, Outcome]] = {}
    for scenario in scenarios:
        started = time.monotonic()
        playing = [recipe for recipe in recipes if scenario.with_limit or not recipe.is_limit]
        outcomes[scenario.name] = {recipe.name: Outcome() for recipe in playing}
        measure = _fresh_rounds if scenario.fresh_server else _lasting_rounds
        measure(scenario, playing, bench, rounds, outcomes[scenario.name])
        say(f"{scenario.name}: {time.monotonic() - started:.0f} s")
    return outcomes


def _lasting_rounds(
    scenario: Scenario, recipes: Sequence[Recipe], bench: Bench, rounds: int, outcomes: dict[str, Outcome]
) -> None:
    """Each server is started and warmed up once and asked in every round; the others stand idle meanwhile."""
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
                    _settle(servers)
                    with _recorded(outcome):
                        outcome.add(scenario.measure(server, bench))


def _fresh_rounds(
    scenario: Scenario, recipes: Sequence[Recipe], bench: Bench, rounds: int, outcomes: dict[str, Outcome]
) -> None:
    """Every round of every server has a newly started process, alone on its core."""
    for _ in range(rounds):
        for recipe in recipes:
            outcome = outcomes[recipe.name]
            if outcome.failure is None:
                with _recorded(outcome), running(recipe, bench.scratch / recipe.name, bench.cores) as server:
                    scenario.warm_up(server, bench)
                    outcome.add(scenario.measure(server, bench))


@contextmanager
def _recorded(outcome: Outcome) -> Iterator[None]:
    """Turn a failure of the server into the outcome's."""
    try:
        yield
    except _FAILURES as failure:
        outcome.failure = f"{type(failure).__name__}: {failure}"


def _settle(servers: Sequence[Server]) -> None:
    """Wait until no server works on after the last round (garbage, write-back), so that each has the core to itself."""
    deadline = time.monotonic() + _SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        before = sum(cpu_seconds(server.process_id) for server in servers)
        time.sleep(_QUIET_SECONDS)
        if sum(cpu_seconds(server.process_id) for server in servers) - before < _QUIET_SHARE * _QUIET_SECONDS:
            return
