"""Every client behind every proxy with the configuration of docs/proxies.md, and directly by default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compatibility.clients import CLIENTS, Client
from tests.compatibility.matrix import COLUMNS, check_resume, check_upload, served, source
from tests.support.server import RunningServer

pytestmark = [
    pytest.mark.long,
    # The first test of a client may build it.
    pytest.mark.timeout(1800),
    # The Python clients leave connections to the garbage collector, and send large bodies as bytes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=COLUMNS)
def way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, str, Path]]:
    """A server, the URL of its endpoint behind one of the proxies, and a file to upload."""
    directory = tmp_path_factory.mktemp(request.param)
    with served(request.param, directory) as (server, endpoint):
        yield server, endpoint, source(directory)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_upload(way: tuple[RunningServer, str, Path], client: Client) -> None:
    """A whole file in several requests."""
    client.ensure_installed()
    check_upload(client, *way)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_resume(way: tuple[RunningServer, str, Path], client: Client) -> None:
    """The rest of a file whose first part the server has."""
    client.ensure_installed()
    check_resume(client, *way)
