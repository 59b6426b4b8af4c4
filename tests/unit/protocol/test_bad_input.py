"""The table of invalid requests against parser and rules: each is refused before its body would be read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from tests.unit.protocol.bad_input import BadInput, bad_inputs, good_inputs
from tusd_py.model.upload import Upload
from tusd_py.protocol import rules
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.parsing import Parser
from tusd_py.protocol.requests import Append, Create, Head
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(id="0123abcd", length=10, created_at=NOW, updated_at=NOW)
LIMITS = Limits()
PURE = [case for case in bad_inputs() if not case.is_framing]


def answer(case: BadInput) -> int:
    """The status with which the protocol would refuse ``case``; 0 where it would not."""
    path = unquote(case.target.replace("{upload}", UPLOAD.id))
    head = Head(method=case.method, path=path, headers=Headers(case.fields(UPLOAD.id)))
    try:
        request = Parser(limits=LIMITS).parse(head)
        if isinstance(request, Append):
            rules.append(request, UPLOAD, LIMITS)
        if isinstance(request, Create):
            rules.create(request, LIMITS)
            parts = [UPLOAD if part == UPLOAD.id else None for part in request.parts]
            if parts:
                rules.concatenate(request, parts, NOW, LIMITS)
    except TusError as error:
        return error.status
    return 0


@pytest.mark.parametrize("case", PURE, ids=[case.name for case in PURE])
def test_bad_input_is_refused_as_documented(case: BadInput) -> None:
    """The response has one of the documented statuses, all of them 4xx except 501 for a transfer coding."""
    assert answer(case) in case.statuses


@pytest.mark.parametrize("case", good_inputs(), ids=lambda case: case.name)
def test_good_input_is_accepted(case: BadInput) -> None:
    """Without the fault the same request is accepted, so the fault is the reason for the refusal."""
    assert answer(case) == 0


def test_table_has_unique_names() -> None:
    """The table has at least 150 cases with unique names."""
    names = [case.name for case in bad_inputs()]
    assert len(names) == len(set(names))
    assert len(names) >= 150


def test_raw_bytes_are_one_request() -> None:
    """The raw form of a case is one head, an empty line, and the body."""
    for case in bad_inputs():
        raw = case.raw("0123abcd", "/up/")
        head, _, body = raw.partition(b"\r\n\r\n")
        assert re.match(rb"[A-Za-z]+ /up/\S* HTTP/1\.1\r\nHost: tus\.test(\r\n|$)", head), case.name
        assert body == case.body
        assert b"{upload}" not in raw
