"""The type of a scenario: its metrics, and the function that is run to warm up and then measured in rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Metric
from benchmarks.machine import Cores
from benchmarks.servers import Server


@dataclass(frozen=True)
class Bench:
    """What a scenario gets besides the server: a directory in memory, and the cores."""

    scratch: Path
    cores: Cores


@dataclass(frozen=True)
class Scenario:
    """One scenario. ``measure`` runs it once and returns a value for each metric.

    ``warm_up`` runs once per server before the rounds, so that caches, pools and just-in-time compilers are warm. With
    ``fresh_server`` each round gets a new server process, if earlier rounds would affect the figures. With
    ``upper_bound`` the recipe of this name, which is not a tus server, is measured as well.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Server, Bench], Mapping[str, float]]
    warm_up: Callable[[Server, Bench], object]
    fresh_server: bool = False
    upper_bound: str = ""
