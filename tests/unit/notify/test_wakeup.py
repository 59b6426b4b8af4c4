"""Waking all subscribers of a directory."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tusd_py.notify.wakeup import notify, subscribe

pytestmark = pytest.mark.anyio


async def test_notify_wakes_all_subscribers(tmp_path: Path) -> None:
    """Two subscribers are woken once each, also in a directory whose path is longer than that of a socket may be."""
    directory = tmp_path / ("d" * 120)
    woken: list[str] = []
    with subscribe(directory, lambda: woken.append("first")), subscribe(directory, lambda: woken.append("second")):
        notify(directory)
        await eventually(lambda: len(woken) == 2)
    assert {"first", "second"} == set(woken)
    assert list(directory.iterdir()) == []


async def test_notify_removes_dead_sockets(tmp_path: Path) -> None:
    """The socket of a dead process is removed, other files stay; a missing directory is no error."""
    name = f"1-{'0' * 16}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / name))
    (tmp_path / "notes").touch()
    notify(tmp_path)
    assert ["notes"] == [path.name for path in tmp_path.iterdir()]
    notify(tmp_path / "nowhere")


async def test_notify_never_waits_for_busy_subscriber(tmp_path: Path) -> None:
    """A thousand wake-ups of a subscriber whose event loop is busy return at once."""
    with subscribe(tmp_path, lambda: None):
        began_at = time.monotonic()
        for _ in range(1000):
            notify(tmp_path)
        assert time.monotonic() - began_at < 5
