"""The audit log on the wire: who did what, refusals, downloads, the API, the commands, and kills."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from typer.testing import Result

from tests.support.client import TUS, patch_headers, request
from tests.support.command import run
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio

SETTINGS = {
    "JWT__SECRET": SECRET,
    "ACCESS__ANONYMOUS": "none",
    "API__ENABLED": "true",
    "AUDIT__ENABLED": "true",
    "AUDIT__DOWNLOADS": "true",
    "AUDIT__REFUSALS_PER_MINUTE": "100",
    "EVENTS__RECORD": "true",
}
ALICE, BOB, ROOT = bearer("alice"), bearer("bob"), bearer("root", roles=["admin"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("audit") / "data", settings=SETTINGS)
    yield running
    running.stop()


async def create(server: RunningServer, length: int = 4) -> str:
    answer = await request("POST", server.url, {**TUS, **ALICE, "Upload-Length": str(length)})
    return urljoin(server.url, answer.headers["location"])


async def entries(server: RunningServer, query: str) -> list[dict[str, Any]]:
    """The entries of ``GET /api/audit``, oldest first."""
    answer = await request("GET", f"{server.root}/api/audit?{query}", ROOT)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = json.loads(answer.body)["entries"]
    return found[::-1]


async def waited_for(server: RunningServer, query: str, count: int) -> list[dict[str, Any]]:
    """The entries, once there are ``count``: those of refusals and downloads are written about a second later."""
    deadline = time.monotonic() + 15
    while len(found := await entries(server, query)) < count:
        assert time.monotonic() < deadline, summary(found)
        await asyncio.sleep(0.05)
    return found


async def command(*arguments: str, **environ: str) -> Result:
    """Run a command, which has an event loop of its own."""
    return await asyncio.to_thread(run, *arguments, **environ)


def summary(found: list[dict[str, Any]]) -> list[str]:
    return [f"{each['subject']} {each['verb']} {each['outcome']}" for each in found]


async def test_who_deleted_this_file(server: RunningServer) -> None:
    """The story of an upload names its creator, the one who terminated it, refused requests and downloads."""
    url = await create(server)
    upload_id = url.rsplit("/", 1)[1]
    assert (await request("HEAD", url, {**TUS, **BOB})).status == 404
    assert (await request("HEAD", url, TUS)).status == 401
    assert (await request("HEAD", url, {**TUS, "Authorization": "Bearer forged"})).status == 401
    assert (await request("PATCH", url, {**patch_headers(0), **ALICE}, b"four")).status == 204
    assert (await request("GET", url, ALICE)).status == 200
    assert (await request("DELETE", url, {**TUS, **ROOT})).status == 204
    found = await waited_for(server, f"kind=upload&id={upload_id}", 7)
    # What changes something is there with its answer; what does not follows within about a second.
    assert sorted(summary(found)) == [
        " inspect refused",
        " inspect refused",
        "alice create done",
        "alice download done",
        "alice finish done",
        "bob inspect refused",
        "root terminate done",
    ]
    (terminated,) = [each for each in found if each["verb"] == "terminate"]
    assert (terminated["method"], terminated["address"]) == ("jwt", "127.0.0.1")
    assert {each["reason"] for each in found if each["outcome"] == "refused"} == {
        "401 ERR_UNAUTHENTICATED",
        "404 ERR_UPLOAD_NOT_FOUND",
    }


async def test_only_administrators_read_it(server: RunningServer) -> None:
    """Others get 403, anonymous clients 401, and both refusals are recorded."""
    path = f"{server.root}/api/audit"
    assert (await request("GET", path, bearer("mo", roles=["moderator"]))).status == 403
    assert (await request("GET", path, {})).status == 401
    found = await waited_for(server, "kind=server&id=/api/audit&outcome=refused", 2)
    assert sorted(summary(found)) == [" operate refused", "mo operate refused"]


async def test_what_stands_in_a_path_is_recorded_only_if_it_is_an_id(server: RunningServer) -> None:
    """Names of people and secrets in paths do not get into the log; ids do."""
    given = "0123456789abcdef"
    for each in ("carol", "tusd_key_0123456789abcdef", "a%0Ab", given):
        assert (await request("DELETE", f"{server.root}/api/accounts/{each}", bearer("mallory"))).status == 403
    found = await waited_for(server, "kind=server&subject=mallory&outcome=refused", 4)
    assert [each["id"] for each in found] == [*["/api/accounts/{name}"] * 3, f"/api/accounts/{given}"]
    for each in ("K7QX3M", "a" * 40, "0" * 32):
        assert (await request("HEAD", f"{server.url}{each}", {**TUS, **bearer("mallory")})).status == 404
    found = await waited_for(server, "kind=upload&subject=mallory&outcome=refused", 3)
    assert sorted(each["id"] or "" for each in found) == ["", "", "0" * 32]


async def test_pages_and_filters(server: RunningServer) -> None:
    """Pages follow each other without gaps; unknown parameters and values are 400."""
    for _ in range(3):
        await create(server)
    whole = [each["number"] for each in await entries(server, "verb=create&subject=alice")][::-1]
    paged, cursor = [], ""
    while True:
        answer = await request("GET", f"{server.root}/api/audit?verb=create&subject=alice&limit=2{cursor}", ROOT)
        content = json.loads(answer.body)
        paged += [each["number"] for each in content["entries"]]
        if content["next"] is None:
            break
        cursor = f"&before={content['next']}"
    assert paged == whole
    for query in ("kind=nothing", "outcome=done&outcome=failed", "since=now", "before=x", "who=alice", "limit=1001"):
        assert (await request("GET", f"{server.root}/api/audit?{query}", ROOT)).status == 400, query
    assert await entries(server, "until=2020-01-01") == []


async def test_kill_loses_no_change(tmp_path: Path) -> None:
    """After ``kill -9`` the log has every creation and termination that a client got an answer to."""
    server = start_server(tmp_path / "data", settings=SETTINGS)
    urls = [await create(server) for _ in range(30)]
    for url in urls[::2]:
        await request("DELETE", url, {**TUS, **ALICE})
    server.kill()
    flags = ("--data-dir", str(tmp_path / "data"))
    result = await command("audit", "list", "--json", "--limit", "1000", "--kind", "upload", *flags, **SETTINGS)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    ids = [url.rsplit("/", 1)[1] for url in urls]
    assert [each["id"] for each in found if each["verb"] == "create"] == ids
    assert [each["id"] for each in found if each["verb"] == "terminate"] == ids[::2]
    assert {each["subject"] for each in found} == {"alice"}


async def test_commands_are_recorded_and_verified(tmp_path: Path) -> None:
    """What an operator does with a command has the name of its user; verify exits with 0."""
    settings = {**SETTINGS, "QUOTAS__ENABLED": "true"}
    server = start_server(tmp_path / "data", settings=settings)
    url = await create(server)
    flags = ("--data-dir", str(tmp_path / "data"))
    assert (await command("uploads", "delete", url.rsplit("/", 1)[1], *flags, **settings)).exit_code == 0
    limit = ("quota", "set", "user:alice", "--bytes-per-day", "1GB")
    assert (await command(*limit, *flags, **settings)).exit_code == 0
    server.stop()
    result = await command("audit", "list", *flags, **settings)
    lines = [line.split()[2:6] for line in result.stdout.splitlines()]
    assert [line[2:] for line in lines] == [["create", "upload"], ["terminate", "upload"], ["set", "quota"]]
    assert [line[1] for line in lines] == ["(jwt)", "(command)", "(command)"]
    result = await command("audit", "verify", *flags, **settings)
    assert result.exit_code == 0, result.output
