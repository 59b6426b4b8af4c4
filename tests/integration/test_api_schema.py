"""Schemathesis over the whole API of a running server: generated requests, valid and not, against its description."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.support.grants import ADMIN, start_with
from tests.support.server import RunningServer, start_server
from tusd_py.web.api.openapi import load_document

SCHEMA = schemathesis.openapi.from_dict(load_document())
OPERATIONS: dict[str, Any] = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (cast("Any", found).ok() for found in SCHEMA.get_all_operations())
}
QUICK, LONG = 5, 300
#: Refusals of values that a schema cannot describe: texts that only the server makes, and sums of several members.
BEYOND_SCHEMA = re.compile(r"no text may have$|cursor must be|are not \d+ chunks$|metadata", re.I)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with everything that the API shows."""
    environment = {
        "API__ENABLED": "true",
        "EVENTS__RECORD": "true",
        "QUOTAS__ENABLED": "true",
        "AUDIT__ENABLED": "true",
    }
    running = start_server(tmp_path_factory.mktemp("api") / "data", settings=environment)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with access control and everything that belongs to it; wrong codes come from many addresses."""
    environment = {
        "SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "ACCOUNTS__ENABLED": "true",
        "ACCOUNTS__API_KEYS": "true",
        "AUDIT__ENABLED": "true",
        "EVENTS__RECORD": "true",
        "QUOTAS__ENABLED": "true",
    }
    running = start_with(tmp_path_factory.mktemp("guarded") / "data", settings=environment)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


def trying(examples: int) -> settings:
    """So many examples for each test; the quick ones are always the same."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples == QUICK,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def cases_of(operation: str) -> st.SearchStrategy[Any]:
    """Requests as the schema describes them, and for an operation with input others too."""
    one = OPERATIONS[operation]
    cases = [one.as_strategy(GenerationMode.POSITIVE)]
    if one.path_parameters or one.query or one.body:
        cases.append(one.as_strategy(GenerationMode.NEGATIVE))
    return st.one_of(cases)


@pytest.mark.parametrize("examples", [QUICK, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.timeout(600)
def test_operation(operation: str, examples: int, server: RunningServer, session: requests.Session) -> None:
    """Every answer is described: its status, its type, its content, its headers. None is an error of the server."""

    @trying(examples)
    @given(cases_of(operation))
    def check(case: Any) -> None:
        response = case.call(base_url=server.root, session=session, timeout=20)
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        is_beyond = response.status_code == 400 and bool(BEYOND_SCHEMA.search(response.json()["detail"]))
        case.validate_response(response, excluded_checks=[positive_data_acceptance] if is_beyond else [])

    check()


@pytest.mark.parametrize(
    ("operation", "examples"),
    [(name, QUICK) for name in OPERATIONS if "-links" in name or "/codes" in name]
    + [pytest.param(name, LONG, marks=pytest.mark.long) for name in OPERATIONS],
)
@pytest.mark.timeout(900)
def test_operation_with_access(
    operation: str, examples: int, guarded: RunningServer, session: requests.Session
) -> None:
    """The same with access control, by an admin; the quick ones are those of links and access codes."""

    @trying(examples)
    @given(cases_of(operation), st.integers(1, 2**32 - 1))
    def check(case: Any, number: int) -> None:
        address = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        headers = {**ADMIN, "X-Forwarded-For": address}
        response = case.call(base_url=guarded.root, session=session, headers=headers, timeout=20)
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        # Which lengths, types and lives are allowed only the server knows.
        case.validate_response(response, excluded_checks=[positive_data_acceptance, ignored_auth])

    check()
