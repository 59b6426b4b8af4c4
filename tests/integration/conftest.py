"""One running server per test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, start_server


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the ``SETTINGS`` of the module, if it has any."""
    settings = getattr(request.module, "SETTINGS", {})
    running = start_server(tmp_path_factory.mktemp("server") / "data", settings=settings)
    yield running
    running.kill()
