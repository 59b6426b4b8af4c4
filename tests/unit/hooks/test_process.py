"""One run of a program: its input and output, its limits, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tusd_py.hooks.process import STDERR_BYTES_MAX, STDOUT_BYTES_MAX, HookProcess, ProcessFailed, ProcessResult

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


def script(directory: Path, text: str) -> Path:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def run(directory: Path, text: str, body: bytes = b"", timeout_seconds: float = 10, **environment: str) -> Any:
    return await HookProcess(script(directory, text), body, environment).run(timeout_seconds)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def exists(pid: int) -> bool:
    """Whether the process exists, be it as a zombie."""
    return Path(f"/proc/{pid}").exists()


async def test_input_environment_and_directory(tmp_path: Path) -> None:
    """The program reads its input, inherits the environment with additions, and runs in its own directory."""
    result = await run(tmp_path, 'cat; echo " $A $PWD ${HOME:+home}"; echo warning >&2', b"input", A="1")
    assert result == ProcessResult(0, f"input 1 {tmp_path} home\n".encode(), b"warning\n")


async def test_input_and_output_larger_than_a_pipe(tmp_path: Path) -> None:
    """Input and output are transferred at the same time: neither side waits for the other."""
    body = os.urandom(STDOUT_BYTES_MAX)
    assert await run(tmp_path, "cat", body) == ProcessResult(0, body, b"")


async def test_input_that_is_not_read(tmp_path: Path) -> None:
    """A program may close or ignore its input, however large that is."""
    assert (await run(tmp_path, "exec 0<&-; echo done", b"x" * 1_000_000)).stdout == b"done\n"
    assert (await run(tmp_path, "echo done", b"x" * 1_000_000)).stdout == b"done\n"


async def test_exit_code_and_signal(tmp_path: Path) -> None:
    """The exit code is reported; a signal that ended the program is its negative number."""
    assert (await run(tmp_path, "exit 3")).exit_code == 3
    assert (await run(tmp_path, "kill -15 $$")).exit_code == -15


async def test_too_much_output_fails(tmp_path: Path) -> None:
    """The program is killed at once, and not only when its time is over."""
    began = time.monotonic()
    with pytest.raises(ProcessFailed, match="wrote more than 1 MiB to standard output"):
        await run(tmp_path, "exec yes", timeout_seconds=60)
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessFailed, match="wrote more than 1 MiB"):
        await run(tmp_path, f"head -c {STDOUT_BYTES_MAX + 1} /dev/zero")
    assert len((await run(tmp_path, f"head -c {STDOUT_BYTES_MAX} /dev/zero")).stdout) == STDOUT_BYTES_MAX


async def test_standard_error_is_truncated(tmp_path: Path) -> None:
    """It is read to its end, so that the program is not blocked, and its beginning is kept."""
    result = await run(tmp_path, f"head -c {2 * STDOUT_BYTES_MAX} /dev/zero >&2; exit 7")
    assert result == ProcessResult(7, b"", bytes(STDERR_BYTES_MAX))


async def test_a_program_that_cannot_be_started_fails(tmp_path: Path) -> None:
    """No permission to execute, a missing interpreter, and an unknown format."""
    path = script(tmp_path, "true")
    path.chmod(0o644)
    with pytest.raises(ProcessFailed, match=r"could not be started: Permission denied; is it executable\?"):
        await HookProcess(path, b"", {}).run(10)
    path.chmod(0o755)
    path.write_bytes(b"\x7fELF")
    with pytest.raises(ProcessFailed, match="could not be started"):
        await HookProcess(path, b"", {}).run(10)
    path.write_text("#!/no/such/interpreter\n")
    with pytest.raises(ProcessFailed, match="could not be started"):
        await HookProcess(path, b"", {}).run(10)


async def test_timeout_kills_the_process_group(tmp_path: Path) -> None:
    """Children of the program are killed too, and no zombie is left."""
    with pytest.raises(ProcessFailed, match=r"took more than 0\.5 seconds"):
        await run(tmp_path, "echo $$ > pids; sleep 60 & echo $! >> pids; wait", timeout_seconds=0.5)
    parent, child = map(int, (tmp_path / "pids").read_text().split())
    assert not exists(parent)
    await eventually(lambda: not is_alive(child))


async def test_cancellation_kills_the_process_group(tmp_path: Path) -> None:
    """Also when it comes while the program is being started."""
    text = "sleep 60 & echo $$ $! > pids.new; mv pids.new pids; wait"
    running = asyncio.ensure_future(run(tmp_path, text, timeout_seconds=60))
    await eventually((tmp_path / "pids").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    parent, child = map(int, (tmp_path / "pids").read_text().split())
    assert not exists(parent)
    await eventually(lambda: not is_alive(child))


@pytest.mark.parametrize("steps", range(6))
async def test_cancellation_at_the_start_leaves_no_process(tmp_path: Path, steps: int) -> None:
    """Whichever step of the start is interrupted."""
    starting = asyncio.ensure_future(run(tmp_path, "echo $$ > pid; exec sleep 60", timeout_seconds=60))
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children if exists(int(pid))]
    assert not [name for name in names if b"sleep" in name or str(tmp_path).encode() in name]


async def test_processes_left_running_are_not_waited_for(tmp_path: Path) -> None:
    """They go on, even if they keep the output of the program open."""
    began = time.monotonic()
    result = await run(tmp_path, "sleep 60 & echo $!", timeout_seconds=30)
    assert time.monotonic() - began < 10
    pid = int(result.stdout)
    assert is_alive(pid)
    os.kill(pid, 9)


async def test_output_of_a_process_left_running_is_bounded(tmp_path: Path) -> None:
    """A process that goes on writing after the program has ended delays nothing."""
    result = await run(tmp_path, "yes >&2 & echo $!", timeout_seconds=30)
    os.kill(int(result.stdout), 9)
    assert (result.exit_code, len(result.stderr) <= STDERR_BYTES_MAX) == (0, True)


async def test_without_process_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``pidfd_open`` is missing or forbidden, the end of the program is polled for."""

    def forbidden(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)
    assert await run(tmp_path, "cat", b"input") == ProcessResult(0, b"input", b"")
    with pytest.raises(ProcessFailed, match="took more than"):
        await run(tmp_path, "sleep 60", timeout_seconds=0.1)


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither after success nor after a failure."""
    await run(tmp_path, "true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await run(tmp_path, "cat; exit 1", b"x" * 100_000)
        with pytest.raises(ProcessFailed):
            await run(tmp_path, "sleep 60", timeout_seconds=0.05)
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
