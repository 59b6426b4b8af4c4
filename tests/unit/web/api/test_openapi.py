"""The description of the API and its routes agree, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tusd_py.model.principal import Verb
from tusd_py.web.api.call import Access, ApiRoute
from tusd_py.web.api.openapi import DIRECTORY, load_document
from tusd_py.web.api.routes import ROUTES

DOCUMENT = load_document()
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
BY_OPERATION = {(route.method, re.sub(r":\w+}", "}", route.path)): route for route in ROUTES}


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): {
            **operation,
            "parameters": [*item.get("parameters", []), *operation.get("parameters", [])],
        }
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


OPERATIONS = operations()


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = DOCUMENT
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


def test_every_route_is_described_and_every_operation_exists() -> None:
    """The sets of methods and paths are the same."""
    assert set(OPERATIONS) == set(BY_OPERATION)


@pytest.mark.parametrize("name", BY_OPERATION, ids=" ".join)
def test_description_has_exactly_the_parameters_that_are_read(name: tuple[str, str]) -> None:
    """The description has the parameters that the route reads from its path and its query, and no others."""
    parameters = [resolved(each) for each in OPERATIONS[name]["parameters"]]
    by_place = {place: {each["name"] for each in parameters if each["in"] == place} for place in ("query", "path")}
    assert by_place == {"query": set(BY_OPERATION[name].query), "path": set(re.findall(r"{(\w+)}", name[1]))}


@pytest.mark.parametrize("name", BY_OPERATION, ids=" ".join)
def test_description_has_the_statuses_of_the_route(name: tuple[str, str]) -> None:
    """Success as the route has it, a problem for what any such route may answer, and a body only where one is read."""
    route, operation = BY_OPERATION[name], OPERATIONS[name]
    statuses = set(operation["responses"])
    assert str(route.status) in statuses or "204" in statuses
    assert {"400", "503", *refusals(route)} <= statuses
    if "requestBody" in operation and "application/json" in operation["requestBody"]["content"]:
        assert {"408", "413", "415"} <= statuses
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            assert "application/problem+json" in resolved(response)["content"], status


def refusals(route: ApiRoute) -> set[str]:
    # A page of another origin may have sent every other method than GET.
    found = {"403"} if isinstance(route.access, Verb) or route.method != "GET" else set()
    return found if route.access is Access.OPEN else {*found, "401"}


def test_operations_have_names_and_summaries() -> None:
    """Generated clients name their functions by the operation's id."""
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["tags"] for operation in OPERATIONS.values())


def test_references_resolve_and_nothing_is_unused() -> None:
    """Each reference leads somewhere, and each component is used."""
    used = set(references(DOCUMENT))
    for reference in used:
        resolved({"$ref": reference})
    components = {
        f"#/components/{section}/{name}"
        for section, entries in DOCUMENT["components"].items()
        if section not in ("securitySchemes", "responses", "parameters")
        for name in entries
    }
    assert components <= used


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.json")), ids=lambda path: path.name)
def test_files_have_one_form(path: Any) -> None:
    """Two spaces of indentation and a final line end, so that changes of one line are one line."""
    assert path.read_text() == json.dumps(json.loads(path.read_text()), indent=2, ensure_ascii=False) + "\n"
