"""``SendfileWriter``: bytes arrive in order, bursts end, and only sent bytes are counted, whatever breaks."""

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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sendfile is used on Linux only")
DATA = bytes(content(2, 300_000))


@dataclass
class Setting:
    """A connection, a file to send, and the counts that writers reported when they were closed."""

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
    """Send until the burst is over. Return the number of bytes."""
    sent = 0
    while moved := writer.sendfile(file, offset + sent, count - sent):
        sent += moved
        if sent == count:
            break
    return sent


def test_range_is_sent_in_order(setting: Setting) -> None:
    """The range of the file is sent after what was sent before, and before what is sent later."""
    setting.server.send(b"head")
    writer = setting.writer()
    assert drain(writer, setting.file, 6, len(DATA)) == len(DATA) == writer.bytes_sent
    writer.close()
    setting.server.send(b"tail")
    assert received(setting.client, len(DATA) + 8) == b"head" + DATA + b"tail"
    assert [len(DATA)] == setting.reported


def test_segments_are_full_within_a_burst(setting: Setting) -> None:
    """While a burst runs the kernel sends full segments only; after it nothing waits to fill one."""

    def cork() -> int:
        return setting.server.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)

    writer = setting.writer()
    assert cork()
    assert writer.sendfile(setting.file, 6, 10) == 10
    writer.close()
    assert not cork()
    assert received(setting.client, 10) == DATA[:10]


def test_unix_socket_is_sent_to(setting: Setting) -> None:
    """A socket without segments takes the bytes as any other."""
    server, client = socket.socketpair()
    with server, client:
        assert setting.slots.acquire()
        writer = SendfileWriter(setting.slots, os.dup(server.fileno()), setting.reported.append)
        assert writer.sendfile(setting.file, 6, 10) == 10
        writer.close()
        assert received(client, 10) == DATA[:10]


def test_slow_client_ends_the_burst(setting: Setting, tmp_path: Path) -> None:
    """A burst ends when the connection takes no more, and the count is that of the bytes that arrive."""
    path = tmp_path / "large"
    path.write_bytes(bytes(64 * MIB))
    with path.open("rb") as large:
        writer = setting.writer()
        sent = drain(writer, large.fileno(), 0, 64 * MIB)
        assert 0 < sent < 64 * MIB
        started = time.perf_counter()
        assert writer.sendfile(large.fileno(), sent, 1) == 0
        assert time.perf_counter() - started < 0.5
        writer.close()
    assert [sent] == setting.reported
    setting.server.shutdown(socket.SHUT_WR)
    assert len(received(setting.client, sent)) == sent
    assert setting.client.recv(1) == b""


def test_fast_client_ends_the_burst_by_time(setting: Setting, tmp_path: Path) -> None:
    """With a client that takes everything, a burst still ends after its time."""
    writer = setting.writer()
    started = time.perf_counter()
    while writer.sendfile(setting.file, 0, 1000):
        setting.client.recv(65536)
        assert time.perf_counter() - started < 5
    writer.close()
    assert setting.reported[0] > 0


def test_broken_connection_ends_the_burst(setting: Setting) -> None:
    """A broken connection raises nothing here: the event loop sees it itself."""
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


def test_end_of_file_ends_the_burst(setting: Setting) -> None:
    """At the end of the file nothing is sent, and the burst is over."""
    writer = setting.writer()
    assert writer.sendfile(setting.file, 6 + len(DATA), 10) == 0
    writer.close()
    assert [0] == setting.reported


def test_unsupported_sendfile_is_turned_off(setting: Setting, tmp_path: Path) -> None:
    """After a socket that sendfile(2) does not accept, no slot is available any more."""
    assert setting.slots.acquire()
    appended = os.open(tmp_path / "file", os.O_WRONLY | os.O_APPEND)
    writer = SendfileWriter(setting.slots, appended, setting.reported.append)
    assert writer.sendfile(setting.file, 0, 1) == 0
    writer.close()
    assert not setting.slots.can_send
    assert not setting.slots.acquire()


def test_slots_are_bounded(setting: Setting) -> None:
    """All slots taken, none is available until one is released; no descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))
    writers = [setting.writer() for _ in range(WRITERS_MAX)]
    assert not setting.slots.acquire()
    writers.pop().close()
    writers.append(setting.writer())
    for writer in writers:
        writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
