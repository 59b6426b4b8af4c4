"""How figures are made: metrics, the values of each round, medians, ratios, floors. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One figure of a scenario. ``key`` names it in the JSON, units last."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int = 0


@dataclass
class Outcome:
    """What one server did in one scenario: the values of each round by metric, or why there are none."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    failure: str | None = None

    def add(self, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self.rounds.setdefault(key, []).append(value)

    def median(self, key: str) -> float | None:
        values = self.rounds.get(key)
        return statistics.median(values) if values else None

    def spread(self, key: str) -> tuple[float, float] | None:
        """The lowest and the highest round: how far to trust the median."""
        values = self.rounds.get(key)
        return (min(values), max(values)) if values else None


# scenario -> server -> outcome
Outcomes = Mapping[str, Mapping[str, Outcome]]


def advantage(metric: Metric, ours: float | None, peer: float | None) -> float | None:
    """How many times better ours is than the peer's: above 1 is better, whichever way the metric points."""
    if ours is None or peer is None or ours <= 0 or peer <= 0:
        return None
    return ours / peer if metric.better == "higher" else peer / ours


@dataclass(frozen=True)
class Floor:
    """A figure the project promises not to fall below. ``peer`` empty: the bound is absolute."""

    scenario: str
    metric: str
    sentence: str
    bound: float
    peer: str = ""


@dataclass(frozen=True)
class Verdict:
    floor: Floor
    measured: float
    passed: bool


def judge(floors: Sequence[Floor], metrics: Mapping[tuple[str, str], Metric], outcomes: Outcomes) -> list[Verdict]:
    """Hold each floor that this run has the figures for against them."""
    verdicts = []
    for floor in floors:
        metric = metrics[floor.scenario, floor.metric]
        servers = outcomes.get(floor.scenario, {})
        ours = servers["ours"].median(floor.metric) if "ours" in servers else None
        if floor.peer:
            peer = servers[floor.peer].median(floor.metric) if floor.peer in servers else None
            ratio = advantage(metric, ours, peer)
            if ratio is not None:
                verdicts.append(Verdict(floor, ratio, ratio >= floor.bound))
        elif ours is not None:
            held = ours >= floor.bound if metric.better == "higher" else ours <= floor.bound
            verdicts.append(Verdict(floor, ours, held))
    return verdicts
