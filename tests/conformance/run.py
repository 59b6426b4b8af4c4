"""Run cases against a server, several conversations at a time, and return their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from tests.conformance.case import Case
from tests.conformance.client import Tus
from tests.conformance.dialogue import Dialogue, SetupFailed
from tests.conformance.subject import Subject

#: Conversations mostly wait; more of them at once would only measure how many connections a server accepts.
_CONVERSATIONS = 8


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True)
class Verdict:
    """The result of one case. ``observed`` is the reason of a skip, the first deviation, or the statuses seen."""

    case: Case
    outcome: Outcome
    observed: str
    dialogue: Dialogue


def subject_for(case: Case, subject: Subject, tight: Subject | None) -> Subject:
    """The server with tight limits for the cases that need one, if there is one."""
    return tight if case.needs is not None and tight is not None else subject


def run_case(case: Case, subject: Subject) -> Verdict:
    """Run one conversation."""
    dialogue = Dialogue()
    if obstacle := case.obstacle(subject):
        return Verdict(case, Outcome.SKIP, obstacle, dialogue)
    tus = Tus(subject, dialogue)
    try:
        case.talk(tus)
    except SetupFailed:
        assert not dialogue.holds, "a failed set-up must have been recorded"
    finally:
        tus.close()
    if not dialogue.holds:
        return Verdict(case, Outcome.FAIL, dialogue.deviations()[0], dialogue)
    return Verdict(case, Outcome.PASS, _statuses(dialogue), dialogue)


def run_cases(cases: Iterable[Case], subject: Subject, tight: Subject | None = None) -> Sequence[Verdict]:
    """Verdicts in the order of ``cases``."""
    with ThreadPoolExecutor(_CONVERSATIONS) as pool:
        return list(pool.map(lambda case: run_case(case, subject_for(case, subject, tight)), cases))


def _statuses(dialogue: Dialogue) -> str:
    seen = [str(exchange.status) for exchange in dialogue.exchanges if exchange.checks and exchange.status]
    unique = list(dict.fromkeys(seen))
    return " ".join(unique[:6])
