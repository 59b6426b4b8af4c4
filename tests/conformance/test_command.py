"""The command line and the document of the suite, tried on careless servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.__main__ import main
from tests.conformance.careless import Closed, Muddled, serving
from tests.conformance.cases import all_cases
from tests.conformance.report import DOCUMENT, comparison, replaced
from tests.conformance.run import Outcome, run_cases
from tests.conformance.table import conversation


def test_nothing_to_test_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL without a tus server gives one message on standard error and exit code 2."""
    with serving(Closed()) as subject:
        assert 2 == main([subject.url])
    assert "not a tus endpoint" in capsys.readouterr().err
    assert 2 == main([subject.url])  # the server is stopped
    assert "does not answer" in capsys.readouterr().err


def test_a_failed_must_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """A failed MUST or SHOULD is exit code 1, and its conversation is printed with both sides."""
    with serving(Muddled()) as subject:
        assert 1 == main([subject.url, "--only", "C8"])
    out = capsys.readouterr().out
    assert "Tus-Version: a list with 1.0.0" in out
    assert "✗ Tus-Version: without 1.0.0" in out


def test_a_failed_policy_counts_when_strict() -> None:
    """A failed policy alone is exit code 0, and 1 with ``--strict``."""
    with serving(Muddled()) as subject:
        assert 0 == main([subject.url, "--only", "B1b"])
        assert 1 == main([subject.url, "--only", "B1b", "--strict"])


def test_the_result_as_json(tmp_path: Path) -> None:
    """``--json`` writes a verdict for each case, with the conversation of those that failed."""
    with serving(Muddled()) as subject:
        main([subject.url, "--only", "C8,CR8b,CK2a", "--json", str(tmp_path / "result.json")])
    found = {row["id"]: row for row in json.loads((tmp_path / "result.json").read_text())["cases"]}
    assert {"C8": "FAIL", "CR8b": "pass", "CK2a": "skip"} == {name: row["verdict"] for name, row in found.items()}
    assert found["C8"]["conversation"]
    assert "checksum is not advertised" == found["CK2a"]["observed"]


def test_a_conversation_is_shown_side_by_side() -> None:
    """What was expected stands beside what was answered, and marks what differs."""
    with serving(Muddled()) as subject:
        (verdict,) = run_cases([case for case in all_cases() if case.id == "H1c"], subject)
    assert Outcome.FAIL is verdict.outcome
    lines = list(conversation(verdict))
    assert any(line.startswith("    Upload-Length: 10 ") and line.endswith("✗ Upload-Length: x") for line in lines)


def test_the_comparison_replaces_only_itself() -> None:
    """The prose around the comparison stays; a document without markers is refused."""
    with serving(Muddled()) as subject:
        verdicts = run_cases([case for case in all_cases() if case.extension == "browsers"], subject)
    text = "\n".join(comparison({"one": verdicts, "other": verdicts}))
    document = replaced("before <!-- comparison: begin -->what was there<!-- comparison: end --> after", text)
    assert document.startswith("before ")
    assert document.endswith(" after")
    assert "what was there" not in document
    assert "**fail**" in document
    with pytest.raises(AssertionError):
        replaced("no markers", text)


def test_the_document_has_every_case() -> None:
    """docs/conformance.md lists every case with its fact: after adding one run ``make conformance-report``."""
    text = DOCUMENT.read_text()
    missing = [
        case.id for case in all_cases() if f"| {case.id} | " not in text or case.fact.replace("|", "\\|") not in text
    ]
    assert [] == missing
