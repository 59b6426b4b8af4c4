"""The load generator of the benchmarks against a real server: every counted byte was transferred."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.machine import divide_cores
from benchmarks.recipes import ours, raw
from benchmarks.servers import Server, running
from benchmarks.streams import append, append_side_by_side, downloaded
from benchmarks.tus import Client, UnexpectedAnswer

LENGTH = 3 * 1024 * 1024 + 7


@pytest.fixture(autouse=True)
def cores() -> Iterator[None]:
    """The load generator binds itself to one core; afterwards all cores are restored."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(ours(), tmp_path / "ours", divide_cores()) as server:
        yield server


def test_load_uploads_and_downloads_every_byte(server: Server) -> None:
    """Appends in parts and in parallel, concatenation and download report the offsets and lengths that were sent."""
    with Client(server.url) as client:
        parts = [client.create(LENGTH, is_part=True) for _ in range(2)]
        for part in parts:
            append(client, part, 0, 5)
            append(client, part, 5, LENGTH - 5)
        final = client.concatenate(parts)
        with downloaded(server.url, final) as received:
            assert 2 * LENGTH == client.head(final).offset == received
    clients = [Client(server.url) for _ in range(3)]
    paths = [client.create(LENGTH) for client in clients]
    append_side_by_side(clients, paths, LENGTH)
    assert [LENGTH] * 3 == [client.head(path).offset for client, path in zip(clients, paths, strict=True)]
    for client in clients:
        client.close()


def test_refused_request_stops_the_round(server: Server) -> None:
    """An unexpected status of an append (409) or of a download (404) raises ``UnexpectedAnswer``."""
    with Client(server.url) as client:
        path = client.create(LENGTH)
        append(client, path, 0, 5)
        with pytest.raises(UnexpectedAnswer, match="409"):
            append(client, path, 0, 5)
        with pytest.raises(UnexpectedAnswer, match="404"), downloaded(server.url, path + "0"):
            pass


def test_upper_bound_stores_the_body(tmp_path: Path) -> None:
    """The upper bound is not a tus server, but it stores the whole body and deletes it."""
    with running(raw(), tmp_path / "raw", divide_cores()) as server, Client(server.url) as client:
        path = client.create(LENGTH)
        append(client, path, 0, LENGTH)
        stored = tmp_path / "raw" / "data" / "upload"
        assert LENGTH == stored.stat().st_size
        client.delete(path)
        assert not stored.exists()


def test_run_of_one_scenario() -> None:
    """A run of one scenario with one server prints a table and changes neither the results nor the document."""
    root = Path(__file__).parent.parent.parent
    written = [root / "benchmarks" / "results" / "latest.json", root / "docs" / "benchmarks.md"]
    before = [path.read_bytes() for path in written]
    command = [sys.executable, "-m", "benchmarks", "--only", "resume", "--servers", "ours", "--rounds", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert (0, True) == (done.returncode, "from the cut to the next PATCH accepted" in done.stdout), done.stderr
    assert before == [path.read_bytes() for path in written]
