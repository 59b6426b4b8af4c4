"""One running server per test module."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.image import build
from tests.support.receiver import Receiver, receiving
from tests.support.server import RunningServer, start_server


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the ``SETTINGS`` of the module, if it has any."""
    settings = getattr(request.module, "SETTINGS", {})
    running = start_server(tmp_path_factory.mktemp("server") / "data", settings=settings)
    yield running
    running.kill()


@pytest.fixture(scope="module")
def module_receiver() -> Iterator[Receiver]:
    """A receiver of hooks for all tests of a module, whose server names its URL."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(module_receiver: Receiver) -> Receiver:
    """The receiver of the module, without the answers and calls of earlier tests."""
    module_receiver.answers.clear()
    module_receiver.calls.clear()
    return module_receiver


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The environment and the wheel that the first stage of the Dockerfile makes, once for all processes of the tests.

    No test may change them.
    """
    # A process of xdist has a directory of its own in that of the run; above the latter are those of earlier runs.
    run = tmp_path_factory.getbasetemp()
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
    directory = run / "image"
    with (run / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            paths = build(directory)
            (directory / "done").write_text("\n".join(map(str, paths)))
    environment, wheel = map(Path, (directory / "done").read_text().splitlines())
    return environment, wheel
