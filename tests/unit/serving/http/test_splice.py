"""``SpliceReader`` and ``PipePool``: exactly the body is moved, once, and bursts end, whatever breaks."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.content import content
from tusd_py.serving.http.splice import PIPE_BYTES, READERS_MAX, PipePool, SpliceReader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="splice(2) is Linux's")


@dataclass
class Setting:
    """A connection, a file, and the counts that readers reported when they were closed."""

    client: socket.socket
    server: socket.socket
    path: Path
    pipes: PipePool = field(default_factory=PipePool)
    rests: list[int] = field(default_factory=list)

    def reader(self, rest: int) -> SpliceReader:
        ends = self.pipes.acquire()
        assert ends is not None
        return SpliceReader(self.pipes, ends, os.dup(self.server.fileno()), rest, self.rests.append)


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.setblocking(False)
    setting = Setting(client, server, tmp_path / "file")
    setting.path.touch()
    yield setting
    setting.pipes.close()
    for end in (client, server, listener):
        end.close()


def drain(reader: SpliceReader, path: Path, offset: int = 0, flags: int = 0) -> int:
    """Splice until the burst is over. Return the number of bytes in the file."""
    descriptor = os.open(path, os.O_WRONLY | flags)
    moved_in_all = 0
    try:
        while moved := reader.splice(descriptor, offset + moved_in_all):
            moved_in_all += moved
    finally:
        os.close(descriptor)
    return moved_in_all


def test_body_is_read_to_its_last_byte_only(setting: Setting) -> None:
    """The bytes behind the body stay in the socket; the body is in the file at the right offset."""
    data = bytes(content(1, 200_000))
    setting.path.write_bytes(b"before")
    setting.client.sendall(data + b"next")
    reader = setting.reader(len(data))
    assert drain(reader, setting.path, 6) == len(data) == reader.bytes_read
    reader.close()
    assert setting.rests == [0]
    assert setting.path.read_bytes() == b"before" + data
    assert setting.server.recv(100) == b"next"


def test_slow_client_ends_the_burst(setting: Setting) -> None:
    """With nothing to read for a millisecond the burst ends, and ``close`` reports what is left."""
    setting.client.sendall(b"some")
    reader = setting.reader(1000)
    started = time.monotonic()
    assert drain(reader, setting.path) == 4
    assert time.monotonic() - started < 0.5
    reader.close()
    assert setting.rests == [996]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_disconnect_ends_the_burst(setting: Setting, reset: bool) -> None:
    """The end of the connection is no error here; the bytes before it are in the file."""
    setting.client.sendall(b"some")
    reader = setting.reader(1000)
    assert drain(reader, setting.path) == 4
    if reset:
        setting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    setting.client.close()
    assert drain(reader, setting.path, 4) == 0
    reader.close()
    assert (reader.bytes_read, setting.rests) == (4, [996])


def test_fast_client_ends_the_burst_by_time(setting: Setting) -> None:
    """With a client that always sends, a burst still ends."""
    reader = setting.reader(2**40)
    block = bytes(64 * 1024)
    descriptor = os.open(setting.path, os.O_WRONLY)
    started = time.monotonic()
    setting.client.setblocking(False)
    setting.client.send(block)
    while reader.splice(descriptor, 0):
        try:
            setting.client.send(block)
        except BlockingIOError:
            pass
        assert time.monotonic() - started < 10
    os.close(descriptor)
    reader.close()
    assert setting.rests == [2**40 - reader.bytes_read]


def test_unsupported_splice_is_turned_off(setting: Setting) -> None:
    """The bytes in the pipe are written all the same, and the next reader uses ``read_into``."""
    data = bytes(content(2, 100_000))
    setting.client.sendall(data)
    reader = setting.reader(len(data) + 10)
    # The kernel refuses to splice to a file that is open for appending.
    moved = drain(reader, setting.path, 0, os.O_APPEND)
    assert moved == reader.bytes_read > 0
    reader.close()
    assert setting.path.read_bytes() == data[:moved]
    setting.client.sendall(b"more")
    again = setting.reader(setting.rests.pop())
    assert (reader.can_splice, again.can_splice) == (False, False)
    buffer, taken = memoryview(bytearray(200_000)), b""
    while count := again.read_into(buffer):
        taken += buffer[:count]
    again.close()
    assert taken == data[moved:] + b"more"


@pytest.mark.parametrize("refused", [False, True], ids=["with a pipe", "without"])
def test_read_into_buffers(setting: Setting, refused: bool) -> None:
    """In order and never past the body, with or without splice(2); pipes are bounded in both cases."""
    setting.pipes.can_splice = not refused
    data = bytes(content(3, 50_000))
    setting.client.sendall(data + b"next")
    reader = setting.reader(len(data))
    assert reader.can_splice is not refused
    buffer = memoryview(bytearray(7_000))
    taken = b""
    while count := reader.read_into(buffer):
        taken += buffer[:count]
    assert (taken, reader.bytes_read) == (data, len(data))
    reader.close()
    assert setting.rests == [0]
    assert setting.server.recv(100) == b"next"
    acquired = [setting.pipes.acquire() for _ in range(READERS_MAX + 1)]
    assert acquired[-1] is None
    assert None not in acquired[:-1]
    for ends in acquired[:-1]:
        assert ends is not None
        setting.pipes.release(ends, is_empty=True)


def test_failing_file_raises(setting: Setting) -> None:
    """The error of the file is raised; the bytes in the pipe count as read and never reach another file."""
    setting.client.sendall(b"lost")
    reader = setting.reader(1000)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        drain(reader, Path("/dev/full"))
    reader.close()
    assert reader.bytes_read == 4
    assert setting.rests == [996]


def test_pipe_with_bytes_is_not_reused(setting: Setting) -> None:
    """A pipe that is released with bytes in it is closed."""
    setting.client.sendall(b"lost")
    reader = setting.reader(1000)
    read_only = os.open(setting.path, os.O_RDONLY)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        reader.splice(read_only, 0)
    os.close(read_only)
    reader.close()
    setting.client.sendall(b"good")
    second = setting.reader(4)
    assert drain(second, setting.path) == 4
    second.close()
    assert setting.path.read_bytes() == b"good"


def test_pipes_are_bounded_and_reused(setting: Setting) -> None:
    """All pipes in use, none is available; released, the same pipes are used again, with a large capacity."""
    acquired = [ends for _ in range(READERS_MAX) if (ends := setting.pipes.acquire())]
    assert len(acquired) == READERS_MAX
    assert setting.pipes.acquire() is None
    for ends in acquired:
        setting.pipes.release(ends, is_empty=True)
    again = setting.pipes.acquire()
    assert again in acquired
    assert again is not None
    setting.pipes.release(again, is_empty=True)
    limit = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    if limit >= PIPE_BYTES:
        assert fcntl.fcntl(again[0], fcntl.F_GETPIPE_SZ) == PIPE_BYTES


def test_closed_reader_keeps_no_bytes(setting: Setting) -> None:
    """A reader lives in a reference cycle until the garbage collector runs; its bytes, 3 MiB per upload, must not."""
    reader = setting.reader(0)
    reader.pieces = [b"x" * 1000]
    reader.close()
    assert not reader.pieces
