"""What the tests of broken servers share: a server is started for each test, and never outlives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import RunningServer, start_server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start a server over this test's data directory; what still runs at its end is killed."""
    started: list[RunningServer] = []

    def start_one(*flags: str, port: int = 0, data_dir: Path | None = None) -> RunningServer:
        started.append(start_server(data_dir or tmp_path / "data", *flags, port=port))
        return started[-1]

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.kill()
