"""Figures for people and programs: the tables on the terminal, the JSON, the part of the docs between markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Metric, Outcome, Outcomes, Verdict, advantage
from benchmarks.plots import PLOTS
from benchmarks.scenarios.contract import Scenario

BEGIN = "<!-- figures: begin (written by `make bench`) -->"
END = "<!-- figures: end -->"
_FAILURE_CHARACTERS = 160


@dataclass(frozen=True)
class Report:
    """Everything a finished run has to tell."""

    date: str
    machine: Mapping[str, str | float]
    servers: Mapping[str, str]
    rounds: int
    scenarios: Sequence[Scenario]
    outcomes: Outcomes
    verdicts: Sequence[Verdict]

    def as_data(self) -> dict[str, object]:
        """The same as plain data: every round of every figure, so that others can compute with them."""
        return {
            "date": self.date,
            "machine": dict(self.machine),
            "servers": dict(self.servers),
            "rounds": self.rounds,
            "scenarios": {scenario.name: self._scenario_data(scenario) for scenario in self.scenarios},
            "floors": [
                {
                    "scenario": verdict.floor.scenario,
                    "metric": verdict.floor.metric,
                    "peer": verdict.floor.peer or None,
                    "bound": verdict.floor.bound,
                    "measured": round(verdict.measured, 3),
                    "passed": verdict.passed,
                }
                for verdict in self.verdicts
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
        """The scenario's table: a metric a row, a column for each server, then our advantage over each peer."""
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


def verdict_rows(report: Report) -> list[list[str]]:
    """A floor a row: what is promised, what was measured, whether it holds."""
    rows = [["floor", "promised", "measured", ""]]
    for verdict in report.verdicts:
        floor = verdict.floor
        promised = (
            f"at least {floor.bound:.3g} times {report.servers[floor.peer]}" if floor.peer else f"{floor.bound:g}"
        )
        measured = f"{verdict.measured:.2f} times" if floor.peer else f"{verdict.measured:.3g}"
        rows.append([floor.sentence, promised, measured, "holds" if verdict.passed else "**FAILS**"])
    return rows


def as_text(report: Report) -> str:
    """The tables for a terminal."""
    parts = []
    for scenario in report.scenarios:
        parts.append(f"\n{scenario.title}\n{_aligned(report.rows(scenario))}")
        parts += [f"  failed: {sentence}" for sentence in report.failures(scenario)]
    if report.verdicts:
        parts.append(f"\n{_aligned(verdict_rows(report))}")
    return "\n".join(parts)


def as_markdown(report: Report) -> str:
    """The part of docs/benchmarks.md that a run writes."""
    machine = report.machine
    parts = [
        f"Measured {report.date} with {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, data on "
        f"{machine['data_on']}; medians of {report.rounds} rounds, lowest and highest in brackets. Other programs kept "
        f"{machine['cores_busy_elsewhere']:.2f} of {machine['cores']} cores busy meanwhile.",
    ]
    parts += [f"![{plot.caption}](benchmarks/{plot.name}.svg)" for plot in PLOTS]
    for scenario in report.scenarios:
        parts.append(f"### {scenario.title}\n\n{_markdown(report.rows(scenario))}")
        parts += [f"Failed: {sentence}" for sentence in report.failures(scenario)]
    parts.append(f"### Floors\n\n{_markdown(verdict_rows(report))}")
    return "\n\n".join(parts)


def replace_between_markers(document: str, part: str) -> str:
    """``document`` with what stands between the markers replaced. Raises ``ValueError`` where they are missing."""
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
