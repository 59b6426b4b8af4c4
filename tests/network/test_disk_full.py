"""A full disk: the client gets 507, stored bytes stay and count, and with space the upload continues."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stacks import on_a_disk
from tests.support.stored import assert_stored, assert_zero_copy, upload_id
from tests.support.stored import request as plain

pytestmark = [pytest.mark.timeout(120), on_a_disk]

DISK_BYTES = 32 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of 32 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tusd-py-test", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"a small file system cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fill the disk with one file to the last byte, then free ``leave_bytes``; deleting the file frees the rest."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 * 1024))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(file.tell() - leave_bytes)
    return filler


@pytest.mark.parametrize("start", ["zero-copy", "read"], indirect=True)
@pytest.mark.anyio
async def test_append_on_a_full_disk_507(
    start: Callable[..., RunningServer], is_zero_copy: bool, small_disk: Path
) -> None:
    """The stored prefix stays, the offset is correct, and once there is space the same upload completes."""
    server = start(data_dir=small_disk / "data")
    data = content(50, 12 * MIB)

    url = await create(server.url, len(data))
    filler = fill(small_disk, 4 * MIB)
    answer = await request("PATCH", url, patch_headers(0), data)
    assert answer.status == 507

    answer = await request("HEAD", url)
    assert answer.status == 200
    assert answer.offset is not None
    # 4 MiB were free: most of them hold the prefix, which is kept.
    assert 2 * MIB < answer.offset <= 4 * MIB
    path = server.data_dir / "uploads" / upload_id(url)
    assert path.read_bytes()[: answer.offset] == data[: answer.offset]

    # Still full: the offset neither falls nor passes the free space.
    again = await request("PATCH", url, patch_headers(answer.offset), data[answer.offset :])
    assert again.status == 507
    still = await request("HEAD", url)
    assert still.offset is not None
    assert answer.offset <= still.offset <= 4 * MIB

    filler.unlink()
    done = await request("PATCH", url, patch_headers(still.offset), data[still.offset :])
    assert (done.status, done.offset) == (204, len(data))
    assert_stored(server, url, data)
    assert_zero_copy(server, is_zero_copy)
    assert plain("GET", server.root + "/healthz")[0] == 200
    assert server.stop() == 0


@pytest.mark.anyio
async def test_creation_on_a_full_disk_507(start: Callable[..., RunningServer], small_disk: Path) -> None:
    """Without any space a creation with a body is refused; one without is accepted or refused the same way."""
    server = start(data_dir=small_disk / "data")
    data = content(51, 2 * MIB)

    filler = fill(small_disk, 0)
    with_body = await request("POST", server.url, {**patch_headers(0), "Upload-Length": str(len(data))}, data)
    assert with_body.status == 507
    # Enough of them to use up the space that the database has reserved.
    without = [await request("POST", server.url, {**TUS, "Upload-Length": "1"}, b"") for _ in range(10)]
    assert {answer.status for answer in without} <= {201, 507}
    filler.unlink()
    url = await create(server.url, len(data))
    done = await request("PATCH", url, patch_headers(0), data)
    assert (done.status, done.offset) == (204, len(data))
    assert_stored(server, url, data)
