"""Receivers that were written for tusd see from this server what they see from tusd, and are obeyed alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.receiver import Answer, Receiver
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("receiver")]

HOOKS = "pre-create,post-create,post-receive,pre-finish,post-finish,pre-terminate,post-terminate"
TEAPOT = {"StatusCode": 418, "Body": "no more of this", "Header": {"X-Reason": "tea"}}


@pytest.fixture(scope="module")
def server(module_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "HOOKS__HTTP_URLS": module_receiver.url,
        "HOOKS__ENABLED_EVENTS": HOOKS,
        "UPLOADS__SAVE_INTERVAL_SECONDS": "0.1",
        "EXPIRATION__SWEEP_INTERVAL_SECONDS": "0.2",
    }
    running = start_server(tmp_path_factory.mktemp("tusd") / "data", settings=settings)
    yield running
    running.stop()


async def metrics(server: RunningServer) -> dict[str, float]:
    text = (await request("GET", f"{server.root}/metrics", {})).body.decode()
    return {name: float(value) for name, value in re.findall(r"^(tusd_[^ ]+) ([0-9.e+]+)$", text, re.M)}


@pytest.mark.parametrize("at_creation", [False, True])
async def test_stop_upload_ends_the_running_request_418(
    server: RunningServer, receiver: Receiver, *, at_creation: bool
) -> None:
    """The client that is sending gets the receiver's response at once; the upload is gone and counted as terminated."""
    before = await metrics(server)
    if at_creation:
        url, headers = server.url, {**TUS, "Upload-Length": "1000000", "Content-Length": "1000000"}
        headers["Content-Type"] = "application/offset+octet-stream"
        connection = await Connection.open(url)
        await connection.send_head("POST", url, headers)
    else:
        url = await create(server.url, 1_000_000)
        connection = await Connection.open(url)
        await connection.send_head("PATCH", url, patch_headers(0, 1_000_000))
    receiver.answers["post-receive"] = Answer({"StopUpload": True, "HTTPResponse": TEAPOT})

    async def sending() -> None:
        for _ in range(100):
            await connection.send(b"x" * 1000)
            await asyncio.sleep(0.2)  # a slow client: post-receive comes once a second

    answer = await connection.answer_while(sending())
    assert (answer.status, answer.body) == (418, b"no more of this")
    assert answer.headers["x-reason"] == "tea"
    connection.close()
    await eventually(lambda: bool(receiver.of("post-terminate")), "the end is told")
    stopped = receiver.of("post-terminate")[0].upload["ID"]
    assert (await request("HEAD", server.url + stopped, TUS)).status == 404
    await eventually(lambda: not (server.data_dir / "uploads" / stopped).exists(), "the bytes are deleted")
    after = await metrics(server)
    assert after["tusd_uploads_terminated"] == before["tusd_uploads_terminated"] + 1
    assert after['tusd_errors_total{code="ERR_UPLOAD_STOPPED",status="418"}'] == 1 + before.get(
        'tusd_errors_total{code="ERR_UPLOAD_STOPPED",status="418"}', 0
    )


async def test_pre_finish_is_asked_for_partial_uploads(server: RunningServer, receiver: Receiver) -> None:
    """Receivers get pre-finish for partial uploads, as they get post-finish; the response goes to the client."""
    receiver.answers["pre-finish"] = Answer({"HTTPResponse": {"Header": {"X-Part": "seen"}}})
    url = await create(server.url, 4, {**TUS, "Upload-Concat": "partial"})
    answer = await request("PATCH", url, patch_headers(0), b"abcd")
    assert (answer.status, answer.headers["x-part"]) == (204, "seen")
    await eventually(lambda: bool(receiver.of("post-finish")), "the end is told")
    assert [True, True] == [receiver.of(hook)[0].upload["IsPartial"] for hook in ("pre-finish", "post-finish")]


async def test_post_create_has_offset_0(server: RunningServer, receiver: Receiver) -> None:
    """Also if the creation brought the bytes; post-finish has them."""
    headers = {**TUS, "Upload-Length": "5", "Content-Type": "application/offset+octet-stream"}
    assert (await request("POST", server.url, headers, b"01234")).status == 201
    await eventually(lambda: bool(receiver.of("post-finish")), "the end is told")
    assert (0, 5) == (receiver.of("post-create")[0].upload["Offset"], receiver.of("post-finish")[0].upload["Offset"])


async def test_method_under_override_is_post(server: RunningServer, receiver: Receiver) -> None:
    """tusd tells the method of the request line."""
    url = await create(server.url, 4)
    headers = {**patch_headers(0), "X-HTTP-Method-Override": "PATCH"}
    assert (await request("POST", url, headers, b"abcd")).status == 204
    await eventually(lambda: bool(receiver.of("post-finish")), "the end is told")
    assert {"POST"} == {receiver.of(hook)[0].request["Method"] for hook in ("pre-finish", "post-finish")}


async def test_errors_are_counted_by_the_status_sent_422(server: RunningServer, receiver: Receiver) -> None:
    """A receiver chose another status than that of the error."""
    receiver.answers["pre-create"] = Answer({"RejectUpload": True, "HTTPResponse": {"StatusCode": 422}})
    assert (await request("POST", server.url, {**TUS, "Upload-Length": "4"})).status == 422
    counted = await metrics(server)
    assert counted['tusd_errors_total{code="ERR_UPLOAD_REJECTED",status="422"}'] == 1
    assert 'tusd_errors_total{code="ERR_UPLOAD_REJECTED",status="400"}' not in counted


async def test_post_hooks_are_counted(server: RunningServer, receiver: Receiver) -> None:
    """Though a worker delivers them; each attempt that fails is an error. Every hook is there from the start."""
    before = await metrics(server)
    assert {f'tusd_hook_errors_total{{hooktype="{hook}"}}' for hook in HOOKS.split(",")} <= before.keys()
    receiver.answers["post-finish"] = [Answer(status=500), Answer()]
    url = await create(server.url, 4)
    assert (await request("PATCH", url, patch_headers(0), b"abcd")).status == 204
    names = ('tusd_hook_invocations_total{hooktype="post-finish"}', 'tusd_hook_errors_total{hooktype="post-finish"}')
    grown = [0.0, 0.0]
    for _ in range(200):
        after = await metrics(server)
        grown = [after[name] - before[name] for name in names]
        if grown[1]:
            break
        await asyncio.sleep(0.1)
    # Hooks of the tests before this one may be counted late; none of them failed.
    assert (grown[1], grown[0] >= 2) == (1, True)
