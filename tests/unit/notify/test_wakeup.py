"""Ringing at all who listen in a directory."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.support.loops import eventually, on_loop
from tusd_py.notify.datagrams import Mailbox
from tusd_py.notify.wakeup import ring


@on_loop
async def test_all_who_listen_hear_it(tmp_path: Path) -> None:
    """Two mailboxes hear a ring each, also in a directory whose path is longer than that of a socket may be."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    heard: list[str] = []
    first = Mailbox(directory, lambda _: heard.append("first"))
    second = Mailbox(directory, lambda _: heard.append("second"))
    ring(directory)
    await eventually(lambda: len(heard) == 2)
    assert {"first", "second"} == set(heard)
    first.close()
    second.close()


@on_loop
async def test_who_died_is_removed_and_nobody_is_no_error(tmp_path: Path) -> None:
    """A socket that nobody has open any more goes; other files stay; without a directory nothing happens."""
    name = f"1-{'0' * 16}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / name))
    (tmp_path / "notes").touch()
    ring(tmp_path)
    assert ["notes"] == [path.name for path in tmp_path.iterdir()]
    ring(tmp_path / "nowhere")


@on_loop
async def test_who_does_not_listen_for_a_while_is_not_waited_for(tmp_path: Path) -> None:
    """A thousand rings at a mailbox whose loop is busy return at once."""
    mailbox = Mailbox(tmp_path, lambda _: None)
    began_at = time.monotonic()
    for _ in range(1000):
        ring(tmp_path)
    assert time.monotonic() - began_at < 5
    mailbox.close()
