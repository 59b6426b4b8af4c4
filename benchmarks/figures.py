"""Figures: metrics, the values of each round, medians, ratios and floors. No I/O."""

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
    """The result of one server in one scenario: the values of each round by metric, or the reason for its failure."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    failure: str | None = None

    def add(self, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self.rounds.setdefault(key, []).append(value)

    def median(self, key: str) -> float | None:
        values = self.rounds.get(key)
        return statistics.median(values) if values else None

    def spread(self, key: str) -> tuple[float, float] | None:
        """The lowest and the highest round, which show how reliable the median is."""
        values = self.rounds.get(key)
        return (min(values), max(values)) if values else None


# scenario -> server -> outcome
Outcomes = Mapping[str, Mapping[str, Outcome]]


def advantage(metric: Metric, ours: float | None, peer: float | None) -> float | None:
    """How many times better our figure is than the peer's: above 1 is better, for costs as well as for rates."""
    if ours is None or peer is None or ours <= 0 or peer <= 0:
        return None
    return ours / peer if metric.better == "higher" else peer / ours


@dataclass(frozen=True)
class Floor:
    """A bound that the project promises to keep: a ratio to ``peer``, or absolute if ``peer`` is empty."""

    scenario: str
    metric: str
    sentence: str
    bound: float
    peer: str = ""


@dataclass(frozen=True)
class FloorResult:
    floor: Floor
    measured: float
    passed: bool
    is_cost: bool = False


def judge(floors: Sequence[Floor], metrics: Mapping[tuple[str, str], Metric], outcomes: Outcomes) -> list[FloorResult]:
    """Compare the outcomes with each floor for which this run has figures."""
    results = []
    for floor in floors:
        metric = metrics[floor.scenario, floor.metric]
        servers = outcomes.get(floor.scenario, {})
        ours = servers["ours"].median(floor.metric) if "ours" in servers else None
        if floor.peer:
            peer = servers[floor.peer].median(floor.metric) if floor.peer in servers else None
            ratio = advantage(metric, ours, peer)
            if ratio is not None:
                results.append(FloorResult(floor, ratio, ratio >= floor.bound, metric.better == "lower"))
        elif ours is not None:
            passed = ours >= floor.bound if metric.better == "higher" else ours <= floor.bound
            results.append(FloorResult(floor, ours, passed, metric.better == "lower"))
    return results
