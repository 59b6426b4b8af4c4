"""Hooks that are programs: what they are given, what they may answer, and that none outlives its time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.harness import CALLER, EPOCH
from tests.support.loops import eventually, on_loop
from tusd_py.contracts.hooks import AuthorizeEvent, HookEvent, HookFailed, HookResponse
from tusd_py.hooks.blocking.executables import ExecutableHooks, run
from tusd_py.hooks.process import STDOUT_BYTES_MAX
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride

UPLOAD = Upload(id="u1", length=10, offset=4, created_at=EPOCH, updated_at=EPOCH)
EVENT = HookEvent(Hook.PRE_FINISH, UPLOAD, CALLER)


def program(directory: Path, text: str, hook: Hook = Hook.PRE_FINISH) -> Path:
    path = directory / hook.value
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def gate_in(directory: Path, seconds: float = 10) -> tuple[ExecutableHooks, list[tuple[Hook, bool]]]:
    counted: list[tuple[Hook, bool]] = []
    handler = ExecutableHooks(
        directory,
        [Hook.PRE_FINISH, Hook.PRE_CREATE, Hook.AUTHORIZE],
        where=lambda upload: {"Path": f"/d/{upload.id}"},
        count=lambda *count: counted.append(count),
        timeout_seconds=seconds,
    )
    return handler, counted


async def failure_in(directory: Path, seconds: float = 10) -> str:
    handler, counted = gate_in(directory, seconds)
    with pytest.raises(HookFailed) as failed:
        await handler.invoke(EVENT)
    assert counted == [(Hook.PRE_FINISH, True)]
    return str(failed.value)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@on_loop
async def test_it_reads_tusds_json_and_knows_the_upload(tmp_path: Path) -> None:
    """JSON on standard input, TUS_ID, TUS_SIZE and TUS_OFFSET in the environment, its directory to work in."""
    program(tmp_path, 'cat > read; echo "$TUS_ID $TUS_SIZE $TUS_OFFSET $PWD ${HOME:+home}" > known')
    handler, counted = gate_in(tmp_path)
    assert await handler.invoke(EVENT) == HookResponse()
    read = json.loads((tmp_path / "read").read_text())
    assert (read["Type"], read["Event"]["Upload"]["Storage"]) == ("pre-finish", {"Path": "/d/u1"})
    assert (tmp_path / "known").read_text().split() == ["u1", "10", "4", str(tmp_path), "home"]
    assert counted == [(Hook.PRE_FINISH, False)]


@on_loop
async def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    """Before there is an upload its id is empty, and a length that nobody knows is 0."""
    for hook in (Hook.PRE_CREATE, Hook.AUTHORIZE):
        program(tmp_path, f'echo "[$TUS_ID] $TUS_SIZE $TUS_OFFSET" > {hook}.known', hook)
    handler, _ = gate_in(tmp_path)
    await handler.invoke(HookEvent(Hook.PRE_CREATE, replace(UPLOAD, id="", length=None, offset=0), CALLER))
    await handler.invoke(AuthorizeEvent(None, CALLER))
    assert (tmp_path / "pre-create.known").read_text() == "[] 0 0\n"
    assert (tmp_path / "authorize.known").read_text() == "[] 0 0\n"


@on_loop
async def test_its_output_is_the_answer(tmp_path: Path) -> None:
    """JSON as over HTTP; it need not read what it is given, nor close its output before it ends."""
    program(tmp_path, """echo '{"httpresponse":{"Header":{"X-A":"1"}}}'; exec 0<&-""")
    handler, _ = gate_in(tmp_path)
    assert await handler.invoke(EVENT) == HookResponse(override=ResponseOverride(headers={"X-A": "1"}))


@on_loop
async def test_who_is_not_there_does_not_object(tmp_path: Path) -> None:
    """A hook without a program is answered by nobody; a hook that is not enabled runs no program."""
    handler, counted = gate_in(tmp_path)
    program(tmp_path, "exit 1", Hook.PRE_TERMINATE)
    assert (
        await handler.invoke(EVENT) == await handler.invoke(replace(EVENT, hook=Hook.PRE_TERMINATE)) == HookResponse()
    )
    assert (handler.handles(Hook.PRE_FINISH), handler.handles(Hook.PRE_TERMINATE)) == (True, False)
    assert counted == [(Hook.PRE_FINISH, False)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo oh dear >&2; exit 3", "exit code 3: 'oh dear\\n'"),
        ("echo said; exit 1", "exit code 1: 'said\\n'"),
        ("kill -9 $$", "signal 9"),
        ("echo '{'", "not JSON"),
        ("""echo '{"HTTPResponse":{"StatusCode":1}}'""", "status 1"),
        ("yes", "more than 1 MiB"),
    ],
)
@on_loop
async def test_a_program_that_fails_is_a_failure_of_the_hook(tmp_path: Path, text: str, told: str) -> None:
    """Its exit code, its last words and what is wrong with its answer are for the log."""
    program(tmp_path, text)
    assert told in await failure_in(tmp_path)


@on_loop
async def test_a_program_that_cannot_be_run_is_a_failure(tmp_path: Path) -> None:
    """One without leave to execute, or of no kind that the system knows, is not taken for missing."""
    program(tmp_path, "true").chmod(0o644)
    assert "is it executable?" in await failure_in(tmp_path)


@on_loop
async def test_what_takes_too_long_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    """The time is the whole group's: a child that ignores its parent's end goes too."""
    program(tmp_path, "echo $$ > pids; sleep 60 & echo $! >> pids; wait")
    assert "took" in await failure_in(tmp_path, seconds=0.5)
    parent, child = map(int, (tmp_path / "pids").read_text().split())
    await eventually(lambda: not is_alive(parent) and not is_alive(child))


@on_loop
async def test_who_waits_no_longer_leaves_no_program(tmp_path: Path) -> None:
    """A request that is cancelled takes its program with it."""
    program(tmp_path, "echo $$ > pid.new; mv pid.new pid; exec sleep 60")
    handler, _ = gate_in(tmp_path)
    asking = asyncio.ensure_future(handler.invoke(EVENT))
    await eventually((tmp_path / "pid").exists)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: not is_alive(int((tmp_path / "pid").read_text())))


@on_loop
async def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """A program may start work that goes on, even if that keeps its output open."""
    program(tmp_path, "sleep 60 & echo $! > pid; echo '{}'")
    handler, _ = gate_in(tmp_path, seconds=30)
    began = time.monotonic()
    assert await handler.invoke(EVENT) == HookResponse()
    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    assert is_alive(pid)
    os.kill(pid, 9)


@on_loop
async def test_no_output_is_too_long_for_standard_error(tmp_path: Path) -> None:
    """It is read to its end, so that the program can go on, and the beginning of it kept."""
    program(tmp_path, f"head -c {2 * STDOUT_BYTES_MAX} /dev/zero >&2; exit 7")
    assert "exit code 7" in await failure_in(tmp_path)


@on_loop
async def test_several_run_at_once(tmp_path: Path) -> None:
    """Each waits for all others to be there as well: one after the other, none would end."""
    program(tmp_path, "touch at.$$; while [ $(ls at.* | wc -l) -lt 8 ]; do sleep 0.01; done")
    handler, counted = gate_in(tmp_path, seconds=30)
    await asyncio.gather(*(handler.invoke(EVENT) for _ in range(8)))
    assert counted == [(Hook.PRE_FINISH, False)] * 8
    await handler.close()


def test_a_worker_runs_them_without_a_loop(tmp_path: Path) -> None:
    """``run`` blocks, in bounded time, and gives back what was said as it is."""
    program(tmp_path, "cat; echo $TUS_ID", Hook.POST_FINISH)
    assert run(tmp_path, Hook.POST_FINISH, b"x" * 200_000, UPLOAD, 10) == b"x" * 200_000 + b"u1\n"
    assert run(tmp_path, Hook.POST_CREATE, b"x", UPLOAD, 10) == b""
    program(tmp_path, "sleep 60", Hook.POST_FINISH)
    with pytest.raises(HookFailed, match="took too long"):
        run(tmp_path, Hook.POST_FINISH, b"", UPLOAD, 0.2)
