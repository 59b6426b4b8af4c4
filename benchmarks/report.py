"""Formats the results of a run: tables for the terminal, JSON, and the generated part of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import FloorResult, Metric, Outcome, Outcomes, advantage
from benchmarks.plots import PLOTS
from benchmarks.scenarios.contract import Scenario

BEGIN = "<!-- figures: begin (written by `make bench`) -->"
END = "<!-- figures: end -->"
_FAILURE_CHARACTERS = 160
#: The trivial application, and the metric by which the servers are compared with it.
LEAST = "floor"
_CPU = "server_cpu_microseconds"


@dataclass(frozen=True)
class Report:
    """The results of a run."""

    date: str
    machine: Mapping[str, str | float]
    servers: Mapping[str, str]
    rounds: int
    scenarios: Sequence[Scenario]
    outcomes: Outcomes
    floor_results: Sequence[FloorResult]

    def as_data(self) -> dict[str, object]:
        """The results as JSON values, with every round of every figure."""
        return {
            "date": self.date,
            "machine": dict(self.machine),
            "servers": dict(self.servers),
            "rounds": self.rounds,
            "scenarios": {scenario.name: self._scenario_data(scenario) for scenario in self.scenarios},
            "floors": [
                {
                    "scenario": result.floor.scenario,
                    "metric": result.floor.metric,
                    "peer": result.floor.peer or None,
                    "bound": result.floor.bound,
                    "measured": round(result.measured, 3),
                    "passed": result.passed,
                }
                for result in self.floor_results
            ],
        }

    def _scenario_data(self, scenario: Scenario) -> dict[str, object]:
        return {
            name: {
                "failure": outcome.failure,
                "figures": {
                    metric.key: {"median": outcome.median(metric.key), "rounds": outcome.rounds.get(metric.key, [])}
                    for metric in scenario.metrics
                },
            }
            for name, outcome in self.outcomes[scenario.name].items()
        }

    def rows(self, scenario: Scenario) -> list[list[str]]:
        """The table of a scenario: a row per metric, a column per server, then our advantage over each peer."""
        outcomes = self.outcomes[scenario.name]
        peers = [name for name in outcomes if name != "ours"] if "ours" in outcomes else []
        head = ["", *(self.servers[name] for name in outcomes), *(f"ours / {name}" for name in peers)]
        rows = [head]
        for metric in scenario.metrics:
            cells = [_cell(metric, outcome) for outcome in outcomes.values()]
            ratios = [_ratio(metric, outcomes["ours"], outcomes[name]) for name in peers]
            rows.append([f"{metric.title}, {metric.unit}", *cells, *ratios])
        return rows

    def failures(self, scenario: Scenario) -> list[str]:
        """A sentence for each server that failed in this scenario."""
        return [
            f"{self.servers[name]}: {outcome.failure[:_FAILURE_CHARACTERS]}"
            for name, outcome in self.outcomes[scenario.name].items()
            if outcome.failure is not None
        ]


def _cell(metric: Metric, outcome: Outcome) -> str:
    median, spread = outcome.median(metric.key), outcome.spread(metric.key)
    if median is None or spread is None:
        return "failed"
    return f"{median:,.{metric.digits}f} ({spread[0]:,.{metric.digits}f}-{spread[1]:,.{metric.digits}f})"


def _ratio(metric: Metric, ours: Outcome, peer: Outcome) -> str:
    ratio = advantage(metric, ours.median(metric.key), peer.median(metric.key))
    return "" if ratio is None else f"{ratio:.1f}x"


def floor_rows(report: Report) -> list[list[str]]:
    """A row per floor: the promised and the measured value, and whether the floor holds."""
    rows = [["floor", "promised", "measured", ""]]
    for result in report.floor_results:
        floor = result.floor
        promised, measured = f"{floor.bound:g}", f"{result.measured:.3g}"
        if floor.peer and result.is_cost:
            promised = f"at most {1 / floor.bound:.3g} times {report.servers[floor.peer]}"
            measured = f"{1 / result.measured:.2f} times"
        elif floor.peer:
            promised = f"at least {floor.bound:.3g} times {report.servers[floor.peer]}"
            measured = f"{result.measured:.2f} times"
        rows.append([floor.sentence, promised, measured, "holds" if result.passed else "**FAILS**"])
    return rows


def least_cpu_rows(report: Report) -> list[list[str]]:
    """The CPU time per request of each server as a multiple of the trivial application's; a row per small request."""
    names = [name for name in report.servers if name != LEAST]
    rows = [["times the floor's CPU", *(report.servers[name] for name in names)]]
    for scenario in report.scenarios:
        outcomes = report.outcomes[scenario.name]
        least = outcomes[LEAST].median(_CPU) if LEAST in outcomes else None
        if least:
            medians = [outcomes[name].median(_CPU) if name in outcomes else None for name in names]
            rows.append([scenario.title, *("" if cpu is None else f"{cpu / least:.2f}" for cpu in medians)])
    return rows


def as_text(report: Report) -> str:
    """The tables for a terminal."""
    parts = [f"Python {report.machine['python']}: {report.machine['python_build']}"]
    for scenario in report.scenarios:
        parts.append(f"\n{scenario.title}\n{_aligned(report.rows(scenario))}")
        parts += [f"  failed: {sentence}" for sentence in report.failures(scenario)]
    if len(rows := least_cpu_rows(report)) > 1:
        parts.append(f"\n{_aligned(rows)}")
    if report.floor_results:
        parts.append(f"\n{_aligned(floor_rows(report))}")
    return "\n".join(parts)


def as_markdown(report: Report) -> str:
    """The generated part of docs/benchmarks.md."""
    machine = report.machine
    parts = [
        f"Measured {report.date} with {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']} "
        f"({machine['python_build']}), data on {machine['data_on']}; medians of {report.rounds} rounds, lowest and "
        f"highest in brackets. Other programs kept {machine['cores_busy_elsewhere']:.2f} of {machine['cores']} cores "
        "busy meanwhile.",
    ]
    parts += [f"![{plot.caption}](benchmarks/{plot.name}.svg)" for plot in PLOTS]
    for scenario in report.scenarios:
        parts.append(f"### {scenario.title}\n\n{_markdown(report.rows(scenario))}")
        parts += [f"Failed: {sentence}" for sentence in report.failures(scenario)]
    if len(rows := least_cpu_rows(report)) > 1:
        parts.append(f"### CPU per small request\n\n{_markdown(rows)}")
    parts.append(f"### Floors\n\n{_markdown(floor_rows(report))}")
    return "\n\n".join(parts)


def replace_between_markers(document: str, part: str) -> str:
    """Return ``document`` with the text between the markers replaced. Raises ``ValueError`` if a marker is missing."""
    before, found_begin, rest = document.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])
