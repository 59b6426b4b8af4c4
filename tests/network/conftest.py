"""Fixtures of the network tests: a server for each test, which never outlives it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.server import RunningServer, start_server
from tests.support.stacks import SQLITE_DISK, settings_on


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The settings of the database, locks and store of a test; by parameter one of ``tests.support.stacks``."""
    return settings_on(getattr(request, "param", SQLITE_DISK))


@pytest.fixture
def start(
    stack: Mapping[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., RunningServer]]:
    """Start a server over this test's data directory; servers that still run at its end are killed.

    By parameter, large bodies are ``"zero-copy"`` (as they are by default) or ``"read"``.
    """
    started: list[RunningServer] = []
    read = {"SERVER__FAST_BODY": "false"} if getattr(request, "param", "") == "read" else {}

    def start_one(*flags: str, port: int = 0, data_dir: Path | None = None, **settings: str) -> RunningServer:
        started.append(
            start_server(data_dir or tmp_path / "data", *flags, settings={**read, **stack, **settings}, port=port)
        )
        return started[-1]

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def is_zero_copy(request: pytest.FixtureRequest) -> bool:
    """Whether the server of this test is expected to use zero-copy transfers."""
    return request.node.callspec.params.get("start") != "read" and sys.platform == "linux"
