"""A case that no server can fail says nothing: each one fails on a careless server, by its own question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.conformance.careless import Closed, Eager, Muddled, Sullen, serving
from tests.conformance.case import EXTENSIONS, Case
from tests.conformance.cases import all_cases
from tests.conformance.run import Outcome, Verdict, run_cases


@pytest.fixture(scope="module")
def failures() -> Iterator[Mapping[str, list[str]]]:
    """For each case by id, the deviations that the careless servers showed, set-up failures left out."""
    found: dict[str, list[str]] = {case.id: [] for case in all_cases()}
    everything = tuple(EXTENSIONS)
    fewer = tuple(name for name in EXTENSIONS if name != "concatenation-unfinished")
    # Twice, because a machine that stalls for longer than the client's patience hides a deviation.
    for character in (Eager(), Sullen(), Muddled(), Closed(), Eager(), Sullen(), Muddled(), Closed()):
        for extensions in (everything, fewer):
            cases = [case for case in all_cases() if not found[case.id] and _applies(case, extensions)]
            with serving(character, extensions=extensions) as subject:
                for verdict in run_cases(cases, subject):
                    found[verdict.case.id] += _own_deviations(verdict)
    yield found


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: f"{case.id}-{case.name}")
def test_case_can_fail(case: Case, failures: Mapping[str, list[str]]) -> None:
    """The case fails on some careless server, and not merely because nothing could be created there."""
    assert failures[case.id], f"{case.id} passes on every careless server"


def _applies(case: Case, extensions: tuple[str, ...]) -> bool:
    """Cases that need the absence of an extension run against the smaller server, all others against the larger."""
    return bool(case.without) == (len(extensions) < len(EXTENSIONS))


def _own_deviations(verdict: Verdict) -> list[str]:
    if verdict.outcome is not Outcome.FAIL:
        return []
    failed = [exchange for exchange in verdict.dialogue.exchanges if not exchange.holds]
    return [exchange.deviation() for exchange in failed if not exchange.is_setup]
