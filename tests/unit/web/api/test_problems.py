"""Problem documents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.web.api.problems import CODES, ApiError, problem_response, refusal
from tusd_py.web.errors import Unavailable

DOCS = Path(__file__).parents[4] / "docs" / "api.md"


def test_members_and_headers() -> None:
    """An error may have a code of its own, further members and headers."""
    error = ApiError(409, "not now", "ERR_ODD", members={"missing": [1, 2]}, headers={"retry-after": "3"})
    response = problem_response(error)
    document = json.loads(bytes(response.body))
    assert (document["title"], document["code"], document["missing"]) == ("Conflict", "ERR_ODD", [1, 2])
    assert (response.headers["retry-after"], response.headers["cache-control"]) == ("3", "no-store")


def test_refusals_of_the_protocol() -> None:
    """They keep their codes, and the headers that they need."""
    challenged, later = refusal(Unauthenticated()), refusal(Unavailable())
    assert challenged.headers["www-authenticate"].startswith("Bearer")
    assert (later.status_code, later.headers["retry-after"]) == (503, "5")
    assert json.loads(bytes(later.body))["code"] == "ERR_UNAVAILABLE"


@pytest.mark.parametrize(("status", "code"), CODES.items())
def test_codes_are_documented(status: int, code: str) -> None:
    """``docs/api.md`` has a row for each code."""
    assert re.search(rf"^\| {status} \| `{code}` \| .+ \|$", DOCS.read_text(), re.M)
