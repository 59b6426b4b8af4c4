"""The load of the benchmarks against a real server: every byte that it counts has gone over the wire."""

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
    """The load binds itself to a core; tests after these have all of them again."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(ours(), tmp_path / "ours", divide_cores()) as server:
        yield server


def test_bodies_go_in_and_out(server: Server) -> None:
    """In pieces, side by side, joined and out again, the offsets and lengths are those that were sent."""
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


def test_a_refused_body_is_no_figure(server: Server) -> None:
    """An answer other than what was asked for stops the round; so does a download that is refused."""
    with Client(server.url) as client:
        path = client.create(LENGTH)
        append(client, path, 0, 5)
        with pytest.raises(UnexpectedAnswer, match="409"):
            append(client, path, 0, 5)
        with pytest.raises(UnexpectedAnswer, match="404"), downloaded(server.url, path + "0"):
            pass


def test_the_raw_limit_stores_what_it_is_sent(tmp_path: Path) -> None:
    """The bare loop is no server, but it does the work: the file is as long as the body, and gone when deleted."""
    with running(raw(), tmp_path / "raw", divide_cores()) as server, Client(server.url) as client:
        path = client.create(LENGTH)
        append(client, path, 0, LENGTH)
        stored = tmp_path / "raw" / "data" / "upload"
        assert LENGTH == stored.stat().st_size
        client.delete(path)
        assert not stored.exists()


def test_a_run_may_be_narrowed() -> None:
    """One scenario, one server, one round: a table, and neither results nor document are touched."""
    root = Path(__file__).parent.parent.parent
    written = [root / "benchmarks" / "results" / "latest.json", root / "docs" / "benchmarks.md"]
    before = [path.read_bytes() for path in written]
    command = [sys.executable, "-m", "benchmarks", "--only", "resume", "--servers", "ours", "--rounds", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert (0, True) == (done.returncode, "from the cut to the next PATCH accepted" in done.stdout), done.stderr
    assert before == [path.read_bytes() for path in written]
