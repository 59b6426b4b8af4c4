"""Hooks that are programs: what they get, what they may answer, and what counts as a failure."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.harness import CALLER, EPOCH
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import AuthorizeEvent, HookEvent, HookFailed, HookResponse
from tusd_py.hooks.blocking.executables import PROGRAMS_MAX, ExecutableHooks, run_executable
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride

pytestmark = pytest.mark.anyio

UPLOAD = Upload(id="u1", length=10, offset=4, created_at=EPOCH, updated_at=EPOCH)
EVENT = HookEvent(Hook.PRE_FINISH, UPLOAD, CALLER)


def program(directory: Path, text: str, hook: Hook = Hook.PRE_FINISH) -> Path:
    path = directory / hook.value
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def hooks_in(directory: Path, timeout_seconds: float = 10) -> tuple[ExecutableHooks, list[tuple[Hook, bool]]]:
    """The hooks of ``directory``, and the invocations that they count."""
    counted: list[tuple[Hook, bool]] = []
    handler = ExecutableHooks(
        directory,
        [Hook.PRE_FINISH, Hook.PRE_CREATE, Hook.AUTHORIZE],
        location=lambda upload: {"Path": f"/d/{upload.id}"},
        count=lambda *count: counted.append(count),
        timeout_seconds=timeout_seconds,
    )
    return handler, counted


async def failure_in(directory: Path, timeout_seconds: float = 10) -> str:
    handler, counted = hooks_in(directory, timeout_seconds)
    with pytest.raises(HookFailed) as failed:
        await handler.invoke(EVENT)
    assert counted == [(Hook.PRE_FINISH, True)]
    return str(failed.value)


async def test_input_and_environment(tmp_path: Path) -> None:
    """tusd's JSON on standard input; TUS_ID, TUS_SIZE and TUS_OFFSET in the environment."""
    program(tmp_path, 'cat > read; echo "$TUS_ID $TUS_SIZE $TUS_OFFSET" > environment')
    handler, counted = hooks_in(tmp_path)
    assert await handler.invoke(EVENT) == HookResponse()
    read = json.loads((tmp_path / "read").read_text())
    assert (read["Type"], read["Event"]["Upload"]["Storage"]) == ("pre-finish", {"Path": "/d/u1"})
    assert (tmp_path / "environment").read_text() == "u1 10 4\n"
    assert counted == [(Hook.PRE_FINISH, False)]


async def test_environment_without_an_upload(tmp_path: Path) -> None:
    """Before there is an upload its id is empty; an unknown length is 0."""
    for hook in (Hook.PRE_CREATE, Hook.AUTHORIZE):
        program(tmp_path, f'echo "[$TUS_ID] $TUS_SIZE $TUS_OFFSET" > {hook}.known', hook)
    handler, _ = hooks_in(tmp_path)
    await handler.invoke(HookEvent(Hook.PRE_CREATE, replace(UPLOAD, id="", length=None, offset=0), CALLER))
    await handler.invoke(AuthorizeEvent(None, CALLER))
    assert (tmp_path / "pre-create.known").read_text() == "[] 0 0\n"
    assert (tmp_path / "authorize.known").read_text() == "[] 0 0\n"


async def test_standard_output_is_the_response(tmp_path: Path) -> None:
    """JSON as over HTTP."""
    program(tmp_path, """echo '{"httpresponse":{"Header":{"X-A":"1"}}}'""")
    handler, _ = hooks_in(tmp_path)
    assert await handler.invoke(EVENT) == HookResponse(override=ResponseOverride(headers={"X-A": "1"}))


async def test_a_missing_program_accepts(tmp_path: Path) -> None:
    """A hook without a program is accepted; for a hook that is not enabled no program is run."""
    handler, counted = hooks_in(tmp_path)
    program(tmp_path, "exit 1", Hook.PRE_TERMINATE)
    terminate = replace(EVENT, hook=Hook.PRE_TERMINATE)
    assert await handler.invoke(EVENT) == await handler.invoke(terminate) == HookResponse()
    assert (handler.handles(Hook.PRE_FINISH), handler.handles(Hook.PRE_TERMINATE)) == (True, False)
    assert counted == [(Hook.PRE_FINISH, False)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo oh dear >&2; exit 3", "exited with code 3: 'oh dear\\n'"),
        ("echo output; exit 1", "exited with code 1: 'output\\n'"),
        ("kill -9 $$", "killed by signal 9"),
        ("echo '{'", "not JSON"),
        ("""echo '{"HTTPResponse":{"StatusCode":1}}'""", "status 1"),
        ("yes", "more than 1 MiB"),
    ],
)
async def test_a_failing_program_is_a_failed_hook(tmp_path: Path, text: str, reason: str) -> None:
    """The log gets the exit code, standard error, and what is wrong with the response."""
    program(tmp_path, text)
    assert reason in await failure_in(tmp_path)


async def test_a_program_without_permission_is_a_failed_hook(tmp_path: Path) -> None:
    """It is not taken for a missing one."""
    program(tmp_path, "true").chmod(0o644)
    assert "is it executable?" in await failure_in(tmp_path)


async def test_timeout_is_a_failed_hook(tmp_path: Path) -> None:
    """The program is killed when the time of the hook is over."""
    program(tmp_path, "sleep 60")
    assert "took more than 0.2 seconds" in await failure_in(tmp_path, timeout_seconds=0.2)


async def test_programs_run_concurrently(tmp_path: Path) -> None:
    """Each waits until all others run: one after the other, none would end."""
    program(tmp_path, "touch at.$$; while [ $(ls at.* | wc -l) -lt 8 ]; do sleep 0.01; done")
    handler, counted = hooks_in(tmp_path, timeout_seconds=30)
    await asyncio.gather(*(handler.invoke(EVENT) for _ in range(8)))
    assert counted == [(Hook.PRE_FINISH, False)] * 8
    await handler.close()


async def test_more_programs_than_allowed_wait(tmp_path: Path) -> None:
    """At most ``PROGRAMS_MAX`` run at a time; the wait counts against the time of the hook."""
    program(tmp_path, "touch at.$$; while [ ! -e go ]; do sleep 0.02; done")
    handler, counted = hooks_in(tmp_path, timeout_seconds=30)
    hooks = [asyncio.ensure_future(handler.invoke(EVENT)) for _ in range(PROGRAMS_MAX + 2)]
    await eventually(lambda: len(list(tmp_path.glob("at.*"))) == PROGRAMS_MAX)
    assert len([hook for hook in hooks if hook.done()]) == 0
    (tmp_path / "go").touch()
    await asyncio.gather(*hooks)
    assert len(list(tmp_path.glob("at.*"))) == PROGRAMS_MAX + 2
    assert counted == [(Hook.PRE_FINISH, False)] * (PROGRAMS_MAX + 2)


async def test_run_executable_returns_standard_output(tmp_path: Path) -> None:
    """As it is; nothing without a program. Events are delivered by it."""
    program(tmp_path, "cat; echo $TUS_ID", Hook.POST_FINISH)
    output = await run_executable(tmp_path, Hook.POST_FINISH, b"x" * 200_000, UPLOAD, timeout_seconds=10)
    assert output == b"x" * 200_000 + b"u1\n"
    assert await run_executable(tmp_path, Hook.POST_CREATE, b"x", UPLOAD, timeout_seconds=10) == b""
    program(tmp_path, "sleep 60", Hook.POST_FINISH)
    with pytest.raises(HookFailed, match="took more than"):
        await run_executable(tmp_path, Hook.POST_FINISH, b"", UPLOAD, timeout_seconds=0.2)
