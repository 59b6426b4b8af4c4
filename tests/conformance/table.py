"""Verdicts as text for a terminal and as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.conformance.case import AREAS, Level
from tests.conformance.run import Outcome, Verdict
from tests.conformance.subject import Subject

_MARKS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.SKIP: "skip"}
_FACT_COLUMNS = 96


def table(verdicts: Sequence[Verdict]) -> Iterable[str]:
    """A line a case, grouped by extension: id, level, verdict, the fact, and what was observed."""
    for area in AREAS:
        group = [verdict for verdict in verdicts if verdict.case.extension == area]
        if group:
            yield f"\n{area}"
        for verdict in group:
            fact = verdict.case.fact
            fact = fact if len(fact) <= _FACT_COLUMNS else f"{fact[: _FACT_COLUMNS - 1]}…"
            mark = _MARKS[verdict.outcome]
            yield f"  {verdict.case.id:6} {verdict.case.level}  {mark}  {fact:{_FACT_COLUMNS}}  {verdict.observed}"


def details(verdicts: Sequence[Verdict], *, everything: bool) -> Iterable[str]:
    """The conversations that failed (or all), expectations on the left, answers on the right."""
    for verdict in verdicts:
        if verdict.outcome is Outcome.FAIL or (everything and verdict.dialogue.exchanges):
            yield from conversation(verdict)


def conversation(verdict: Verdict) -> Iterable[str]:
    case = verdict.case
    yield f"\n{case.id} {case.extension} ({case.level}) {verdict.outcome}: {case.fact}"
    yield f"  “{case.ground}”"
    yield f"    {'expected':58}   answered"
    yield from verdict.dialogue.lines()


def summary(verdicts: Sequence[Verdict]) -> Iterable[str]:
    """Counts by extension and level: passed of those that could be decided."""
    yield f"\n{'':26}" + "".join(f"{level.name.lower():>12}" for level in Level) + f"{'skipped':>12}"
    for area in (*AREAS, "total"):
        group = [verdict for verdict in verdicts if area in (verdict.case.extension, "total")]
        if not group:
            continue
        cells = "".join(f"{passed_of(group, level):>12}" for level in Level)
        skipped = sum(verdict.outcome is Outcome.SKIP for verdict in group)
        yield f"{area:26}{cells}{skipped or '':>12}"


def passed_of(group: Sequence[Verdict], level: Level) -> str:
    """``passed/decided``, empty where nothing was decided."""
    counts = Counter(verdict.outcome for verdict in group if verdict.case.level is level)
    decided = counts[Outcome.PASS] + counts[Outcome.FAIL]
    return f"{counts[Outcome.PASS]}/{decided}" if decided else ""


def as_json(subject: Subject, verdicts: Sequence[Verdict]) -> dict[str, object]:
    return {
        "url": subject.url,
        "extensions": sorted(subject.extensions),
        "python": sys.version.split()[0],
        "cases": [
            {
                "id": verdict.case.id,
                "level": str(verdict.case.level),
                "extension": verdict.case.extension,
                "fact": verdict.case.fact,
                "ground": verdict.case.ground,
                "verdict": str(verdict.outcome),
                "observed": verdict.observed,
                "conversation": list(verdict.dialogue.lines()) if verdict.outcome is Outcome.FAIL else [],
            }
            for verdict in verdicts
        ],
    }
