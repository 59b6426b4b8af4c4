"""What a scenario is: its metrics, and the act that is warmed up and then measured in rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Metric
from benchmarks.machine import Cores
from benchmarks.servers import Server


@dataclass(frozen=True)
class Bench:
    """What a scenario may use beside the server: a directory in memory, and the cores."""

    scratch: Path
    cores: Cores


@dataclass(frozen=True)
class Scenario:
    """One question to a server. ``measure`` asks it once and returns a value for each metric.

    ``warm_up`` runs once per server before the rounds: just-in-time compilers, caches and pools settle.
    With ``fresh_server`` each round has a newly started one, for what a former round would leave behind. With
    ``with_limit`` the raw limit of the machine, which is no tus server, is measured beside the others.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Server, Bench], Mapping[str, float]]
    warm_up: Callable[[Server, Bench], object]
    fresh_server: bool = False
    with_limit: bool = False
