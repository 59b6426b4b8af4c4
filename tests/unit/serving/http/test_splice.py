"""Bytes through a pipe from a socket to a file: exactly so many, for a moment, and none twice whatever breaks."""

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
    """A connection, a file, and what loans over them told when they were closed."""

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
    """Move until the moment is over; how many bytes went to the file."""
    descriptor = os.open(path, os.O_WRONLY | flags)
    moved_in_all = 0
    try:
        while moved := reader.splice(descriptor, offset + moved_in_all):
            moved_in_all += moved
    finally:
        os.close(descriptor)
    return moved_in_all


def test_exactly_the_rest_is_taken(setting: Setting) -> None:
    """What follows the body stays in the socket; the bytes stand where they belong in the file."""
    data = bytes(content(1, 200_000))
    setting.path.write_bytes(b"before")
    setting.client.sendall(data + b"next")
    reader = setting.reader(len(data))
    assert drain(reader, setting.path, 6) == len(data) == reader.bytes_read
    reader.close()
    assert setting.rests == [0]
    assert setting.path.read_bytes() == b"before" + data
    assert setting.server.recv(100) == b"next"


def test_a_slow_client_ends_the_moment_at_once(setting: Setting) -> None:
    """Nothing more within a millisecond: the thread is free, and the rest is told."""
    setting.client.sendall(b"some")
    reader = setting.reader(1000)
    started = time.monotonic()
    assert drain(reader, setting.path) == 4
    assert time.monotonic() - started < 0.5
    reader.close()
    assert setting.rests == [996]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_client_that_leaves_ends_the_moment(setting: Setting, reset: bool) -> None:
    """The end of the connection is no error here; what came before it is in the file."""
    setting.client.sendall(b"some")
    reader = setting.reader(1000)
    assert drain(reader, setting.path) == 4
    if reset:
        setting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    setting.client.close()
    assert drain(reader, setting.path, 4) == 0
    reader.close()
    assert (reader.bytes_read, setting.rests) == (4, [996])


def test_a_fast_client_does_not_keep_the_thread(setting: Setting) -> None:
    """Though there is always more to move, the moment passes."""
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


def test_a_file_that_cannot_be_spliced_to(setting: Setting) -> None:
    """The bytes in the pipe are written all the same; whoever borrows next takes the rest into a buffer."""
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
def test_what_is_taken_into_buffers(setting: Setting, refused: bool) -> None:
    """In order and never beyond the rest, with splice(2) or without; the loans are as many, and all end."""
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


def test_a_file_that_takes_nothing(setting: Setting) -> None:
    """The error of the file is raised; what was in the pipe counts as taken, and never reaches another file."""
    setting.client.sendall(b"lost")
    reader = setting.reader(1000)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        drain(reader, Path("/dev/full"))
    reader.close()
    assert reader.bytes_read == 4
    assert setting.rests == [996]


def test_what_is_left_in_a_pipe_is_for_nobody(setting: Setting) -> None:
    """A pipe that was given back with bytes in it is not acquired again."""
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


def test_pipes_are_few_and_used_again(setting: Setting) -> None:
    """So many at once and no more; given back, the same ones are acquired anew, and large."""
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


def test_a_loan_that_ended_keeps_no_bytes(setting: Setting) -> None:
    """It is part of a circle and stays until the collector comes: with its bytes, 3 MiB an upload stayed too."""
    reader = setting.reader(0)
    reader.pieces = [b"x" * 1000]
    reader.close()
    assert not reader.pieces
