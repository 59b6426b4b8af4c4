"""Write the comparison into docs/conformance.md: ``python -m tests.conformance.report``."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.conformance import peer
from tests.conformance.case import AREAS, Level
from tests.conformance.cases import all_cases
from tests.conformance.run import Outcome, Verdict, run_cases
from tests.conformance.subject import probe
from tests.conformance.table import passed_of
from tests.conformance.test_conformance import TIGHT_SETTINGS
from tests.support.server import start_server

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
_BEGIN, _END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
_OURS, _PEER = "tusd-py", "@tus/server"
_LEVELS = {Level.MUST: "MUST", Level.SHOULD: "SHOULD", Level.POLICY: "policy"}

_ID = re.compile(r"\b[0-9a-f]{32}\b")

Results = Mapping[str, Sequence[Verdict]]


def main() -> int:
    try:
        peer.install()
        with tempfile.TemporaryDirectory() as folder:
            results, notes = _run(Path(folder))
    except peer.NoPeer as error:
        print(error, file=sys.stderr)
        return 2
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(replaced(text, "\n".join([*notes, "", *comparison(results)])))
    for name, verdicts in results.items():
        print(name, {str(level): passed_of(verdicts, level) for level in Level})
    return 0


def _run(folder: Path) -> tuple[Results, list[str]]:
    ours = start_server(folder / "ours")
    tight = start_server(folder / "ours-tight", settings=TIGHT_SETTINGS)
    try:
        verdicts = run_cases(all_cases(), probe(ours.url), probe(tight.url, is_impatient=True))
    finally:
        ours.stop()
        tight.stop()
    with peer.running(folder / "peer") as other, peer.running(folder / "peer-tight", "--tight") as other_tight:
        others = run_cases(all_cases(), probe(other.url), probe(other_tight.url, is_impatient=True))
        crashes = other.crashes() + other_tight.crashes()
    notes = [f"{_OURS} {version('tusd-py')}; {peer.versions()}. {len(verdicts)} cases."]
    if crashes:
        notes.append(
            f"\nDuring the run the process of {_PEER} had {crashes} uncaught exceptions (`ReadableStream is already "
            "closed`, after refused bodies). Each would terminate Node by default; the runner keeps it "
            "alive, so that the comparison can continue."
        )
    return {_OURS: verdicts, _PEER: others}, notes


def replaced(document: str, comparison_text: str) -> str:
    """``document`` with what is between its markers replaced."""
    before, _, rest = document.partition(_BEGIN)
    _, marker, after = rest.partition(_END)
    assert marker, f"{DOCUMENT} has lost its markers"
    return f"{before}{_BEGIN}\n\n{comparison_text}\n\n{_END}{after}"


def comparison(results: Results) -> Iterable[str]:
    """Everything between the markers: counts, deviations, then every case."""
    yield from _counts(results)
    for name, verdicts in results.items():
        yield from _deviations(name, verdicts)
    yield from _cases(results)


def _counts(results: Results) -> Iterable[str]:
    yield "### Passed of decided, by extension"
    yield ""
    yield "| | " + " | ".join(f"{name} {word}" for name in results for word in _LEVELS.values()) + " |"
    yield "|---|" + "--:|" * (len(results) * len(_LEVELS))
    for area in (*AREAS, "total"):
        cells = []
        for verdicts in results.values():
            group = [verdict for verdict in verdicts if area in (verdict.case.extension, "total")]
            decided = any(verdict.outcome is not Outcome.SKIP for verdict in group)
            counts = [passed_of(group, level) for level in Level]
            cells += counts if decided else ["–"] * len(counts)
        yield f"| {area} | " + " | ".join(cells) + " |"
    yield ""
    yield "`–`: not advertised, so not tested. An empty cell: there is no case of that level."


def _deviations(name: str, verdicts: Sequence[Verdict]) -> Iterable[str]:
    failed = [verdict for verdict in verdicts if verdict.outcome is Outcome.FAIL]
    yield ""
    yield f"### Deviations of {name}"
    yield ""
    if not failed:
        yield "None."
    for level, word in _LEVELS.items():
        rows = [verdict for verdict in failed if verdict.case.level is level]
        if rows:
            yield f"**{word}** ({len(rows)})"
            yield ""
        for verdict in rows:
            yield f"- {verdict.case.id}: {verdict.case.fact} *Observed:* {_plain(verdict.observed)}"
        if rows:
            yield ""


def _cases(results: Results) -> Iterable[str]:
    names = list(results)
    yield "### All cases"
    for area in AREAS:
        yield ""
        yield f"#### {area}"
        yield ""
        yield "| id | level | what holds | " + " | ".join(names) + " |"
        yield "|---|---|---|" + "---|" * len(names)
        for rows in zip(*results.values(), strict=True):
            case = rows[0].case
            if case.extension == area:
                outcomes = " | ".join(_outcome(verdict) for verdict in rows)
                yield f"| {case.id} | {_LEVELS[case.level]} | {_plain(case.fact, code=True)} | {outcomes} |"


def _outcome(verdict: Verdict) -> str:
    return {Outcome.PASS: "pass", Outcome.FAIL: "**fail**", Outcome.SKIP: "–"}[verdict.outcome]


def _plain(text: str, *, code: bool = False) -> str:
    """``text`` without what a table or, outside ``code``, Markdown takes for markup; ids of one run are left out."""
    text = _ID.sub("…", text.replace("|", "\\|"))
    return text if code else text.replace("*", "\\*").replace("<", "\\<")


if __name__ == "__main__":
    sys.exit(main())
