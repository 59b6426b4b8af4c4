"""Each test of a command runs in an empty directory, without variables of tusd-py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import isolate


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolates the test from the developer's configuration."""
    isolate(tmp_path, monkeypatch)
