"""Programs as hooks of a running server, alone and beside a URL."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.client import TUS, request
from tests.support.receiver import Answer, receiving
from tests.support.server import start_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "hooks.md"


def program(directory: Path, hook: str, text: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / hook).write_text(text)
    (directory / hook).chmod(0o755)


async def test_the_program_of_the_docs_rejects_large_uploads_413(tmp_path: Path) -> None:
    """The shell script in docs/hooks.md works; hooks without a program are accepted."""
    [script] = re.findall(r"```sh\n(#!/bin/sh\n# pre-create.+?)```", DOCS.read_text(), re.S)
    program(tmp_path / "hooks", "pre-create", script)
    settings = {"HOOKS__EXECUTABLES_DIR": str(tmp_path / "hooks"), "HOOKS__ENABLED_EVENTS": "pre-create,pre-finish"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        large = await request("POST", server.url, {**TUS, "Upload-Length": "1000000001"})
        assert (large.status, large.body) == (413, b"at most 1 GB")
        assert (await request("POST", server.url, {**TUS, "Upload-Length": "0"})).status == 201
    finally:
        server.kill()


async def test_output_of_a_failing_program_stays_in_the_log(tmp_path: Path) -> None:
    """The client gets none of it."""
    program(tmp_path / "hooks", "pre-create", "#!/bin/sh\necho secret-path >&2; exit 1\n")
    server = start_server(tmp_path / "data", settings={"HOOKS__EXECUTABLES_DIR": str(tmp_path / "hooks")})
    try:
        answer = await request("POST", server.url, {**TUS, "Upload-Length": "1"})
        assert (answer.status, b"secret" in answer.body) == (500, False)
        assert "exited with code 1: 'secret-path" in server.log.read_text()
    finally:
        server.kill()


async def test_urls_are_invoked_before_the_program(tmp_path: Path) -> None:
    """The program gets the changes of the receiver, and its headers win."""
    text = """#!/bin/sh\ncat > "$PWD/$TUS_ID.json"; echo '{"HTTPResponse": {"Header": {"X-By": "program"}}}'\n"""
    program(tmp_path / "hooks", "pre-create", text)
    with receiving() as receiver:
        answer = {"ChangeFileInfo": {"ID": "theirs"}, "HTTPResponse": {"Header": {"X-By": "url", "X-Url": "1"}}}
        receiver.answers["pre-create"] = Answer(answer)
        settings = {"HOOKS__EXECUTABLES_DIR": str(tmp_path / "hooks"), "HOOKS__HTTP_URLS": receiver.url}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            created = await request("POST", server.url, {**TUS, "Upload-Length": "1"})
            assert (created.headers["x-by"], created.headers["x-url"]) == ("program", "1")
            assert '"ID":"theirs"' in (tmp_path / "hooks" / "theirs.json").read_text()
        finally:
            server.kill()


async def test_shutdown_kills_programs(tmp_path: Path) -> None:
    """A program that hangs is killed when the time for the shutdown is over."""
    program(tmp_path / "hooks", "pre-create", "#!/bin/sh\necho $$ > pid.new; mv pid.new pid; exec sleep 60\n")
    settings = {"HOOKS__EXECUTABLES_DIR": str(tmp_path / "hooks"), "SERVER__SHUTDOWN_TIMEOUT_SECONDS": "0.5"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        asking = asyncio.ensure_future(request("POST", server.url, {**TUS, "Upload-Length": "1"}))
        await eventually((tmp_path / "hooks" / "pid").exists)
        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.gather(asking, return_exceptions=True)
        pid = int((tmp_path / "hooks" / "pid").read_text())
        await eventually(lambda: not Path(f"/proc/{pid}").exists())
    finally:
        server.kill()


def test_a_missing_directory_prevents_the_start(tmp_path: Path) -> None:
    """The error says what to do."""
    with pytest.raises(RuntimeError, match=r"hooks\.executables_dir .+ is not a directory; create or change it"):
        start_server(tmp_path / "data", settings={"HOOKS__EXECUTABLES_DIR": str(tmp_path / "none")})
