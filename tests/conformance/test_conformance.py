"""The whole suite against our own server, on every stack: every case must pass, the policies as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conformance.case import Case
from tests.conformance.cases import all_cases
from tests.conformance.client import Tus
from tests.conformance.dialogue import Dialogue
from tests.conformance.run import Outcome, Verdict, run_cases
from tests.conformance.subject import Subject, probe
from tests.conformance.table import conversation
from tests.support.server import RunningServer, start_server
from tests.support.stacks import POSTGRESQL_FILE_LOCKS, STACKS, every_stack, quick_on_every_stack, settings_on

#: Settings under which length, expiry and silence come to their limits while a test waits.
TIGHT_SETTINGS = {
    "UPLOADS__LENGTH_MAX": str(1 << 20),
    "UPLOADS__BODY_IDLE_SECONDS": "2",
    "SERVER__HEADER_TIMEOUT_SECONDS": "2",
    "EXPIRATION__UNFINISHED_SECONDS": "3",
    "EXPIRATION__PARTIAL_SECONDS": "3",
    "EXPIRATION__SWEEP_INTERVAL_SECONDS": "1",
}
#: CO12 asks what a server without an extension does that ours has.
MAY_SKIP = {"CO12"}
#: Of each area the cases that a database, a lock or a store could break first; none waits.
QUICK_ON_EVERY_STACK = {
    *("CR1a", "H1a", "H3a", "P1a", "P4a", "P7a", "CU1b", "DL3", "EX1a", "CK2a", "CK2b", "CK6b", "TE1b"),
    *("CO2a", "CO2b", "CO13d", "L2b", "L2c"),
}


class Ours(NamedTuple):
    """Our server twice: with its defaults, and with tight limits if a selected case needs them."""

    default: Subject
    tight: Subject | None


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> str:
    """One of ``tests.support.stacks``."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def cases(stack: str, request: pytest.FixtureRequest) -> Sequence[Case]:
    """The cases that are selected for this stack."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    chosen = [item.callspec.params for item in items if item.callspec.params.get("stack") == stack]
    return [case for params in chosen if isinstance(case := params.get("case"), Case)]


@pytest.fixture(scope="module")
def ours(stack: str, cases: Sequence[Case], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    folder = tmp_path_factory.mktemp("conformance")
    started: list[RunningServer] = []

    def start(name: str, **limits: str) -> str:
        started.append(start_server(folder / name, settings=settings_on(stack) | limits))
        return started[-1].url

    try:
        default = probe(start("default"))
        is_tight = any(case.needs is not None for case in cases)
        yield Ours(default, probe(start("tight", **TIGHT_SETTINGS), is_impatient=True) if is_tight else None)
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="module")
def verdicts(ours: Ours, cases: Sequence[Case]) -> Mapping[str, Verdict]:
    """The verdicts on the selected cases by id, all at once: they mostly wait, one by one for more than a minute."""
    return {verdict.case.id: verdict for verdict in run_cases(cases, ours.default, ours.tight)}


def _param(case: Case) -> object:
    marks = [quick_on_every_stack] if case.id in QUICK_ON_EVERY_STACK else []
    return pytest.param(case, id=f"{case.id}-{case.name}", marks=marks)


@pytest.mark.parametrize("stack", [*STACKS, POSTGRESQL_FILE_LOCKS], indirect=True)
@pytest.mark.parametrize("case", [_param(case) for case in all_cases()])
@pytest.mark.timeout(300)  # the first one waits for all of them
def test_case(case: Case, verdicts: Mapping[str, Verdict]) -> None:
    """What the case says holds for our server."""
    verdict = verdicts[case.id]
    if verdict.outcome is Outcome.SKIP and case.id in MAY_SKIP:
        pytest.skip(verdict.observed)
    assert verdict.outcome is Outcome.PASS, "\n".join(conversation(verdict))


def test_ids_are_unique() -> None:
    """No two cases have the same id, and each says what holds and why."""
    cases = all_cases()
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.fact.endswith(".") and case.ground for case in cases)
    assert QUICK_ON_EVERY_STACK <= {case.id for case in cases}


@every_stack
def test_the_extensions_that_we_advertise(ours: Ours) -> None:
    """Our server advertises every extension of tus 1.0.0."""
    missing = {"creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination",
               "checksum-trailer", "concatenation", "concatenation-unfinished"} - ours.default.extensions  # fmt: skip
    assert set() == missing


@every_stack
def test_the_status_of_the_expired_can_be_chosen(stack: str, tmp_path: Path) -> None:
    """With ``gone_status = 404`` an expired upload is answered like an unknown one: Java starts anew only on that."""
    settings = {**settings_on(stack), **TIGHT_SETTINGS, "UPLOADS__GONE_STATUS": "404"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        subject = probe(server.url, is_impatient=True)
        tus = Tus(subject, Dialogue())
        upload = tus.create(10)
        gone = tus.eventually(lambda: tus.head(upload), lambda got: got.status not in (200, 204), 8)
        gone.expect(404, upload_offset=None)
        assert gone.holds, "\n".join(tus.dialogue.lines())
    finally:
        server.stop()


@every_stack
def test_extensions_can_be_switched_off(stack: str, tmp_path: Path) -> None:
    """What is switched off is neither advertised nor served."""
    switches = ("TERMINATION", "CONCATENATION", "CREATION_WITH_UPLOAD", "DOWNLOADS")
    settings = {f"UPLOADS__{name}": "false" for name in switches} | {"EXPIRATION__UNFINISHED_SECONDS": "0"}
    server = start_server(tmp_path / "data", settings=settings_on(stack) | settings)
    try:
        subject = probe(server.url)
        assert {"creation", "creation-defer-length", "checksum", "checksum-trailer"} == set(subject.extensions)
        tus = Tus(subject, Dialogue())
        upload = tus.create(5, b"hello")
        tus.delete(upload).expect(405)
        tus.get(upload).expect(405)
        tus.post(upload_concat="partial", upload_length=5).expect(501, location=None)
        observed = tus.post(b"hello", upload_length=5, content_type="application/offset+octet-stream")
        observed.expect((201, 400, 415), upload_offset=None)
        tus.head(upload).expect(200, upload_offset=5, upload_expires=None)
        assert tus.dialogue.holds, "\n".join(tus.dialogue.lines())
    finally:
        server.stop()
