"""tuspy with an API key: it sends the key as a bearer token, uploads, is interrupted and resumes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.support.command import run
from tests.support.content import MIB, content
from tests.support.server import RunningServer, start_server

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"ACCESS__ANONYMOUS": "none", "ACCOUNTS__API_KEYS": "true"}
    running = start_server(tmp_path_factory.mktemp("keys") / "data", settings=settings)
    yield running
    running.stop()


def make_key(server: RunningServer, *flags: str) -> str:
    with ThreadPoolExecutor(1) as executor:
        made = executor.submit(run, "key", "add", "ci", *flags, "--data-dir", str(server.data_dir)).result()
    assert made.exit_code == 0, made.output
    return str(made.stdout).strip()


def test_tuspy_with_an_api_key(server: RunningServer, tmp_path: Path) -> None:
    """Half of the file, then the rest by a new client that knows the URL only."""
    source = tmp_path / "source.bin"
    source.write_bytes(content(43, 3 * MIB + 5))
    headers = {"Authorization": f"Bearer {make_key(server)}"}
    first: Any = TusClient(server.url, headers=headers).uploader(str(source), chunk_size=MIB)
    first.upload_chunk()
    second: Any = TusClient(server.url, headers=headers).uploader(str(source), chunk_size=MIB, url=first.url)
    assert second.offset == MIB
    second.upload()
    assert server.stored(str(second.url)) == source.read_bytes()


def test_tuspy_with_a_wrong_key_401(server: RunningServer, tmp_path: Path) -> None:
    """A key with one other character, and a key that may not create."""
    source = tmp_path / "source.bin"
    source.write_bytes(b"abcd")
    key = make_key(server)
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for each, status in ((wrong, 401), (make_key(server, "--verb", "inspect"), 403)):
        uploader: Any = TusClient(server.url, headers={"Authorization": f"Bearer {each}"}).uploader(str(source))
        with pytest.raises(TusCommunicationError) as refused:
            uploader.upload()
        assert refused.value.status_code == status
