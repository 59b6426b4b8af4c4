"""Bytes of a file into a socket: in order, for a moment, and none counted that was not taken, whatever breaks."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.content import MIB, content
from tusd_py.serving.http.sendfile import WRITERS_MAX, SendfileWriter, SendSlots

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked to do this")
DATA = bytes(content(2, 300_000))


@dataclass
class Setting:
    """A connection, a file to send, and what slots reported when they were closed."""

    client: socket.socket
    server: socket.socket
    file: int
    slots: SendSlots = field(default_factory=SendSlots)
    reported: list[int] = field(default_factory=list)

    def writer(self) -> SendfileWriter:
        assert self.slots.acquire()
        return SendfileWriter(self.slots, os.dup(self.server.fileno()), self.reported.append)


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname(), timeout=10)
    server, _ = listener.accept()
    server.setblocking(False)
    path = tmp_path / "file"
    path.write_bytes(b"before" + DATA)
    file = os.open(path, os.O_RDONLY)
    yield Setting(client, server, file)
    os.close(file)
    for end in (client, server, listener):
        end.close()


def received(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = client.recv(count - len(got))
        assert piece, f"closed after {len(got)} bytes"
        got += piece
    return got


def drain(writer: SendfileWriter, file: int, offset: int, count: int) -> int:
    """Give until the moment is over; how many bytes went."""
    given = 0
    while moved := writer.sendfile(file, offset + given, count - given):
        given += moved
        if given == count:
            break
    return given


def test_what_is_asked_for_is_sent(setting: Setting) -> None:
    """A span of the file, behind what was sent before and before what is sent after."""
    setting.server.send(b"head")
    writer = setting.writer()
    assert drain(writer, setting.file, 6, len(DATA)) == len(DATA) == writer.bytes_sent
    writer.close()
    setting.server.send(b"tail")
    assert received(setting.client, len(DATA) + 8) == b"head" + DATA + b"tail"
    assert [len(DATA)] == setting.reported


def test_a_slow_client_ends_the_moment_at_once(setting: Setting, tmp_path: Path) -> None:
    """What the connection holds is given, and the thread is free; the count is that of the bytes that arrive."""
    path = tmp_path / "large"
    path.write_bytes(bytes(64 * MIB))
    with path.open("rb") as large:
        writer = setting.writer()
        given = drain(writer, large.fileno(), 0, 64 * MIB)
        assert 0 < given < 64 * MIB
        started = time.perf_counter()
        assert writer.sendfile(large.fileno(), given, 1) == 0
        assert time.perf_counter() - started < 0.5
        writer.close()
    assert [given] == setting.reported
    setting.server.shutdown(socket.SHUT_WR)
    assert len(received(setting.client, given)) == given
    assert setting.client.recv(1) == b""


def test_a_fast_client_does_not_keep_the_thread(setting: Setting, tmp_path: Path) -> None:
    """However much there is, a moment ends: others want the thread."""
    writer = setting.writer()
    started = time.perf_counter()
    while writer.sendfile(setting.file, 0, 1000):
        setting.client.recv(65536)
        assert time.perf_counter() - started < 5
    writer.close()
    assert setting.reported[0] > 0


def test_a_client_that_is_gone(setting: Setting) -> None:
    """The moment is over, without an error: the event loop is reported of the end by the connection itself."""
    setting.client.close()
    with suppress(OSError):
        setting.server.send(b"x")
    writer = setting.writer()
    deadline = time.monotonic() + 5
    while writer.sendfile(setting.file, 0, 1):
        assert time.monotonic() < deadline
        writer.close()
        writer = setting.writer()
    writer.close()
    assert setting.slots.can_send


def test_a_file_that_has_been_cut_short(setting: Setting) -> None:
    """Nothing is given of what is not there, and that ends the moment."""
    writer = setting.writer()
    assert writer.sendfile(setting.file, 6 + len(DATA), 10) == 0
    writer.close()
    assert [0] == setting.reported


def test_what_cannot_be_sent_this_way_is_not_tried_again(setting: Setting, tmp_path: Path) -> None:
    """What sendfile(2) does not take, such as a file that is appended to: from then on nobody is writers anything."""
    assert setting.slots.acquire()
    appended = os.open(tmp_path / "file", os.O_WRONLY | os.O_APPEND)
    writer = SendfileWriter(setting.slots, appended, setting.reported.append)
    assert writer.sendfile(setting.file, 0, 1) == 0
    writer.close()
    assert not setting.slots.can_send
    assert not setting.slots.acquire()


def test_so_many_at_once(setting: Setting) -> None:
    """Beyond that nobody is writers one until one is given back; none stays open."""
    before = len(os.listdir("/proc/self/fd"))
    writers = [setting.writer() for _ in range(WRITERS_MAX)]
    assert not setting.slots.acquire()
    writers.pop().close()
    writers.append(setting.writer())
    for writer in writers:
        writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
