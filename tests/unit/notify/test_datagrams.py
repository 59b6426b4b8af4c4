"""Messages between mailboxes of one directory."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.loops import eventually, on_loop
from tusd_py.notify.datagrams import Mailbox, is_mailbox_name


@on_loop
async def test_tells_one_and_all(tmp_path: Path) -> None:
    """A message to all reaches every other mailbox, one to a name only that; many arrive in order."""
    heard: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    boxes = [Mailbox(tmp_path, heard[number].append) for number in heard]
    (tmp_path / "uploads-0.lock").touch()
    boxes[0].tell_all(b"to all")
    boxes[1].tell(boxes[2].name, b"to one")
    await eventually(lambda: heard == {0: [], 1: [b"to all"], 2: [b"to all", b"to one"]})
    for box in boxes:
        box.close()
    assert list(tmp_path.glob("*.sock")) == []


@on_loop
async def test_full_queue_loses_messages_and_never_blocks(tmp_path: Path) -> None:
    """Whoever tells more than the receiver's queue holds goes on at once; what was taken arrives in order."""
    heard: list[bytes] = []
    sender, receiver = Mailbox(tmp_path, heard.append), Mailbox(tmp_path, heard.append)
    for number in range(5000):
        sender.tell(receiver.name, b"%d" % number)
    await asyncio.sleep(0)
    await eventually(lambda: len(heard) >= 10)
    sender.close()
    receiver.close()
    assert heard == [b"%d" % number for number in range(len(heard))]


@on_loop
async def test_mailbox_of_the_dead_is_removed(tmp_path: Path) -> None:
    """The socket of a process that died is unlinked by the first who tells it something."""
    dead = tmp_path / "12345-0123456789abcdef.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(dead))
    box = Mailbox(tmp_path, lambda message: None)
    box.tell_all(b"anybody?")
    assert not dead.exists()
    box.tell(dead.name, b"gone already")
    box.close()


@on_loop
async def test_without_sockets_messages_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no socket can be made the mailbox opens all the same, and others cannot reach it."""
    monkeypatch.setattr(Mailbox, "_address", lambda self, name: "x" * 200)
    box = Mailbox(tmp_path, lambda message: None)
    assert list(tmp_path.glob("*.sock")) == []
    box.tell("1-0123456789abcdef.sock", b"lost")
    box.close()


@pytest.mark.parametrize("name", ["", "x.sock", "../1-0123456789abcdef.sock", "1-0123456789abcdef.sock/", "1-0.sock"])
def test_names(name: str) -> None:
    """Only the names that mailboxes give themselves are told anything."""
    assert not is_mailbox_name(name)
    assert is_mailbox_name("1-0123456789abcdef.sock")


@on_loop
async def test_flood_leaves_room_for_others(tmp_path: Path) -> None:
    """A mailbox told more than it reads in one turn goes on in the next, and other work runs between."""
    heard: list[bytes] = []

    def hear(message: bytes) -> None:
        heard.append(message)
        sender.tell(box.name, b"again")  # so that there is always one more to read

    box = Mailbox(tmp_path, hear)
    sender = Mailbox(tmp_path, heard.append)
    sender.tell(box.name, b"first")
    turns = 0

    def other_work() -> bool:
        nonlocal turns
        turns += 1
        return len(heard) >= 500

    await eventually(other_work)
    assert turns >= 3
    box.close()
    sender.close()
