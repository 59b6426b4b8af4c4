"""``Tus`` mounted into other applications, under stock ASGI servers, without our protocol class."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import BODY, TUS, Connection, create, patch_headers, request
from tests.support.content import content
from tests.support.draft import Draft
from tests.support.mounted import SERVERS, MountedServer, mounted
from tests.support.server import start_server
from tests.support.sockets import all_read
from tests.support.waiting import eventually

KIB = 1024


@pytest.fixture(
    scope="module",
    params=[
        ("uvicorn-h11", "starlette_app:app"),
        ("uvicorn-httptools", "fastapi_app:app"),
        ("granian", "starlette_app:app"),
    ],
    ids=list(SERVERS),
)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedServer]:
    """An example application of this repository, under each server."""
    server, app = request.param
    with mounted(server, app, tmp_path_factory.mktemp(server)) as running:
        yield running


async def offset_of(url: str) -> int | None:
    answer = await request("HEAD", url)
    assert answer.status == 200, answer
    return answer.offset


@pytest.mark.anyio
async def test_interrupted_upload_is_resumed_and_downloaded(example: MountedServer) -> None:
    """After the connection breaks, every sent byte is kept, and the rest completes the upload."""
    data = content(1, 700 * KIB)
    url = await create(f"{example.root}/files/", len(data))
    assert url.startswith(f"{example.root}/files/")
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, patch_headers(0, len(data)))
    await connection.send(data[: 300 * KIB])
    await all_read(example.port, connection.own_port)
    connection.close()
    offset = await offset_of(url)
    assert offset == 300 * KIB
    answer = await request("PATCH", url, patch_headers(offset), data[offset:])
    assert (answer.status, answer.offset) == (204, len(data))
    download = await request("GET", url, {})
    assert download.body == bytes(data)
    ranged = await request("GET", url, {"Range": "bytes=1000-1999"})
    assert (ranged.status, ranged.body) == (206, bytes(data[1000:2000]))
    assert (await request("DELETE", url)).status == 204
    assert (await request("HEAD", url)).status in (404, 410)


@pytest.mark.anyio
async def test_draft_without_interim_responses(example: MountedServer) -> None:
    """These servers cannot send 104 responses: the final response has the URL, and an upload can be resumed."""
    draft = Draft(f"{example.root}/files/")
    whole = await draft.create(b"abc")
    assert (whole.status, whole.interims, whole.headers["upload-complete"]) == (201, [], "?1")
    url = await draft.made(6)
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, draft.patch(0, completes=True, content_length="6"))
    await connection.send(b"abcd")
    await all_read(example.port, connection.own_port)
    connection.close()
    state = await draft.head(url)
    # uvicorn's own classes may report a disconnect before they pass on what has arrived: then fewer bytes are kept.
    offset = int(state.headers["upload-offset"])
    assert (offset <= 4, state.headers["upload-complete"]) == (True, "?0")
    assert (await draft.append(url, offset, b"abcdef"[offset:])).headers["upload-complete"] == "?1"
    assert (await request("GET", url, {})).body == b"abcdef"


@pytest.mark.anyio
async def test_takeover_400(example: MountedServer) -> None:
    """HEAD stops a stalled PATCH at once and returns the offset; the PATCH is answered 400."""
    data = content(2, 400 * KIB)
    url = await create(f"{example.root}/files/", len(data))
    stalled = await Connection.open(url)
    await stalled.send_head("PATCH", url, patch_headers(0, len(data)))
    await stalled.send(data[: 100 * KIB])
    await all_read(example.port, stalled.own_port)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    offset = await offset_of(url)
    assert loop.time() - started_at < 2
    assert offset == 100 * KIB
    answer = await request("PATCH", url, patch_headers(offset), data[offset:])
    assert (answer.status, answer.offset) == (204, len(data))
    stopped = await asyncio.wait_for(stalled.answer(), 10)
    assert (stopped.status, b"ERR_UPLOAD_INTERRUPTED" in stopped.body) == (400, True)
    stalled.close()
    assert (await request("GET", url, {})).body == bytes(data)


@pytest.mark.anyio
async def test_wrong_offset_409_during_the_body(example: MountedServer) -> None:
    """A client that is still sending its body can read the refusal."""
    url = await create(f"{example.root}/files/", 10_000_000)
    answer = await request("PATCH", url, patch_headers(7), bytes(5_000_000))
    assert answer.status == 409
    assert await offset_of(url) == 0


@pytest.mark.anyio
async def test_chunked_and_created_with_upload(example: MountedServer) -> None:
    """A chunked PATCH, and the first bytes in the request that creates the upload."""
    headers = {**TUS, **BODY, "Upload-Length": "11"}
    created = await request("POST", f"{example.root}/files/", headers, b"hello")
    assert (created.status, created.offset) == (201, 5)
    url = urljoin(f"{example.root}/files/", created.headers["location"])
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, {**patch_headers(5), "Transfer-Encoding": "chunked"})
    await connection.send(b"6\r\n world\r\n0\r\n\r\n")
    answer = await connection.answer()
    connection.close()
    assert (answer.status, answer.offset) == (204, 11)
    assert (await request("GET", url, {})).body == b"hello world"


EVERYWHERE = """
from fastapi import FastAPI
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from tusd_py import Tus

uploads = Tus(data_dir="data")
django = Starlette(routes=[uploads.route("/files"), Mount("/", PlainTextResponse("Django"))], lifespan=uploads.lifespan)
fast = FastAPI(lifespan=uploads.lifespan)
fast.router.routes.append(uploads.route("/files"))

@asgi("/files", is_mount=True, copy_scope=True)
async def files(scope: Scope, receive: Receive, send: Send) -> None:
    await uploads(scope, receive, send)

star = Litestar([files], lifespan=[uploads.lifespan])
"""


@pytest.mark.parametrize("framework", ["django", "fast", "star"])
@pytest.mark.anyio
async def test_collection_without_its_slash_201(framework: str, tmp_path: Path) -> None:
    """In front of Django, in FastAPI and in Litestar a POST to the path without the slash creates an upload there."""
    (tmp_path / "everywhere.py").write_text(EVERYWHERE)
    with mounted("uvicorn-httptools", f"everywhere:{framework}", tmp_path, tmp_path) as running:
        for path in ("/files", "/files/"):
            headers = {**TUS, **BODY, "Upload-Length": "6", "Via": "1.1 proxy"}
            created = await request("POST", running.root + path, headers, b"abc")
            assert (created.status, created.offset) == (201, 3)
            assert created.headers["location"].rpartition("/")[0] == "/files"
            url = urljoin(running.root, created.headers["location"])
            assert (await request("PATCH", url, patch_headers(3), b"def")).status == 204
            assert (await request("GET", url, {})).body == b"abcdef"


HOOKS = """
import asyncio, json, threading
from {framework} import {Framework}
from tusd_py import Hook, HookResponse, Settings, Tus

def note(event):
    with open("calls.jsonl", "a") as calls:
        is_main = threading.current_thread() is threading.main_thread()
        print(json.dumps([event.hook, event.upload and event.upload.offset, is_main]), file=calls)
    return HookResponse()

async def note_async(event):
    await asyncio.sleep(0)
    return note(event)

hooks = {{hook.replace("-", "_"): {function} for hook in Hook}}
uploads = Tus(settings=Settings.model_validate({{"storage": {{"data_dir": "data"}}}}), **hooks)
app = {Framework}(lifespan=uploads.lifespan)
app.mount("/up", uploads)
"""


@pytest.mark.parametrize(
    ("framework", "function", "server"),
    [
        ("starlette.applications.Starlette", "note", "uvicorn-httptools"),
        ("starlette.applications.Starlette", "note_async", "uvicorn-h11"),
        ("fastapi.FastAPI", "note", "granian"),
        ("fastapi.FastAPI", "note_async", "uvicorn-httptools"),
    ],
)
@pytest.mark.anyio
async def test_every_hook_sync_and_async(framework: str, function: str, server: str, tmp_path: Path) -> None:
    """Each hook is called, in order; a hook that is not ``async`` runs in a thread."""
    module, _, name = framework.rpartition(".")
    (tmp_path / "hooked.py").write_text(HOOKS.format(framework=module, Framework=name, function=function))
    with mounted(server, "hooked:app", tmp_path, tmp_path) as running:
        url = await create(f"{running.root}/up/", 3)
        assert (await request("PATCH", url, patch_headers(0), b"abc")).status == 204
        log = tmp_path / "calls.jsonl"
        await eventually(lambda: log.read_text().count("\n") == 7)
        assert (await request("DELETE", url)).status == 204
        await eventually(lambda: log.read_text().count("\n") == 10)
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    order = [hook for hook, _, _ in calls]
    assert [hook for hook in order if hook.startswith("pre-")] == ["pre-create", "pre-finish", "pre-terminate"]
    after = ["post-create", "post-receive", "post-finish", "post-terminate"]
    assert [hook for hook in order if hook.startswith("post-")] == after
    assert order.count("authorize") == 3
    assert {is_main for _, _, is_main in calls} == {function == "note_async"}


@pytest.mark.anyio
async def test_sigterm_keeps_received_bytes(tmp_path: Path) -> None:
    """After SIGTERM during an upload the next server reports every received byte."""
    with mounted("uvicorn-httptools", "starlette_app:app", tmp_path) as running:
        url = await create(f"{running.root}/files/", 1000)
        connection = await Connection.open(url)
        await connection.send_head("PATCH", url, patch_headers(0, 1000))
        await connection.send(bytes(400))
        await all_read(running.port, connection.own_port)
        running.process.terminate()
        await eventually(lambda: "Shutting down" in running.log)
        # uvicorn waits for open connections before it ends the lifespan, so the client closes its connection.
        connection.close()
        await asyncio.to_thread(running.process.wait, 20)
        assert "Traceback" not in running.log
    server = start_server(tmp_path / "data")
    try:
        assert await offset_of(urljoin(server.url, url.rsplit("/", 1)[1])) == 400
    finally:
        server.kill()
