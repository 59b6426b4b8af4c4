"""One server for the whole folder: its tests make uploads of their own and do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, start_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("clients") / "data")
    try:
        yield running
    finally:
        running.stop()
