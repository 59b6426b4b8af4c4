"""docs/compatibility.md has a row for every client and a column for every proxy."""

from __future__ import annotations

import re

from tests.compatibility.__main__ import DOCUMENT, table
from tests.compatibility.clients import CLIENTS
from tests.compatibility.matrix import COLUMNS


def _without_versions(lines: list[str]) -> list[str]:
    return [re.sub(r" \d+(\.\d+)+", "", line.replace("yes", "")) for line in lines if line.startswith("| ")]


def test_document_has_every_client_and_proxy() -> None:
    """After adding one, ``make compatibility`` writes the document again."""
    expected = table({(client.name, column): "not installed" for client in CLIENTS for column in COLUMNS})
    expected = [line.replace("not installed", "") for line in expected]
    found = DOCUMENT.read_text().splitlines()
    assert _without_versions(found) == _without_versions(expected)
