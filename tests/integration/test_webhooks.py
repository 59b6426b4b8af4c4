"""Deliveries of a running server and its worker to a receiver that records them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.support.client import TUS, create, patch_headers, request
from tests.support.receiver import CUT, HANG, Answer, receiving
from tests.support.server import start_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

SECRETS = ("whsec_" + "A" * 32, "whsec_" + "B" * 32)


def endpoint(url: str, **more: object) -> dict[str, object]:
    return {"name": "library", "url": url, "allow_private": True, **more}


def settings_for(*endpoints: dict[str, object]) -> dict[str, str]:
    return {"WEBHOOKS__ENDPOINTS": json.dumps(endpoints)}


async def upload(url: str, content: bytes = b"0123") -> str:
    """Create and complete an upload; return its id."""
    location = await create(url, len(content))
    assert (await request("PATCH", location, patch_headers(0), content)).status == 204
    return location.rsplit("/", 1)[1]


async def test_events_are_signed_and_in_order(tmp_path: Path) -> None:
    """The reference library verifies each event with either key."""
    with receiving() as receiver:
        server = start_server(tmp_path / "data", settings=settings_for(endpoint(receiver.url, secrets=SECRETS)))
        try:
            upload_id = await upload(server.url)
            await eventually(lambda: len(receiver.calls) >= 3, "three events are delivered")
        finally:
            server.stop()
        assert ["post-create", "post-finish", "upload.ready"] == [call.hook for call in receiver.calls]
        for call in receiver.calls:
            for secret in SECRETS:
                assert call.payload == Webhook(secret).verify(call.raw.decode(), dict(call.headers))
            assert call.header("webhook-id") == [call.payload["id"]]
            assert call.payload["upload"]["id"] == upload_id
        assert receiver.calls[1].payload["request"]["method"] == "PATCH"
        assert receiver.calls[2].payload["upload"]["status"] == "ready"


async def test_post_hooks_are_those_of_tusd(tmp_path: Path) -> None:
    """With ``hooks.http_urls`` the four ``post-`` hooks have tusd's JSON and the forwarded headers."""
    with receiving() as receiver:
        settings = {"HOOKS__HTTP_URLS": receiver.url, "HOOKS__HTTP_FORWARD_HEADERS": "X-Who"}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            location = await create(server.url, 4, {**TUS, "Upload-Metadata": "filename YS5wbmc="})
            assert (await request("PATCH", location, {**patch_headers(0), "X-Who": "me"}, b"0123")).status == 204
            assert (await request("DELETE", location, TUS)).status == 204
            await eventually(lambda: len(receiver.calls) >= 5, "all events are delivered")
        finally:
            server.stop()
        names = ["pre-create", "post-create", "post-receive", "post-finish", "post-terminate"]
        assert names == [call.hook for call in receiver.calls]
        finish = receiver.of("post-finish")[0]
        upload_id = location.rsplit("/", 1)[1]
        assert finish.header("X-Who") == ["me"]
        assert set(finish.payload) == {"Type", "Event"}
        assert {
            "ID": upload_id,
            "Size": 4,
            "SizeIsDeferred": False,
            "Offset": 4,
            "MetaData": {"filename": "a.png"},
            "IsPartial": False,
            "IsFinal": False,
            "PartialUploads": None,
        } == {key: value for key, value in finish.upload.items() if key != "Storage"}
        assert finish.upload["Storage"]["Path"].endswith(upload_id)
        assert finish.request["Method"] == "PATCH"
        assert finish.request["URI"] == f"/files/{upload_id}"
        assert finish.request["Header"]["X-Who"] == ["me"]


@pytest.mark.parametrize("failing", [Answer(status=500), CUT, Answer(status=302, headers=(("Location", "/else"),))])
async def test_failed_deliveries_are_retried_with_the_same_id(failing: Answer, tmp_path: Path) -> None:
    """Later events of the same upload wait."""
    with receiving() as receiver:
        receiver.answers["post-create"] = [failing]
        server = start_server(tmp_path / "data", settings=settings_for(endpoint(receiver.url)))
        try:
            await upload(server.url)
            await eventually(lambda: len(receiver.calls) >= 4, "all events are delivered")
        finally:
            server.stop()
        assert ["post-create", "post-create", "post-finish", "upload.ready"] == [call.hook for call in receiver.calls]
        first, second = receiver.of("post-create")
        assert first.header("webhook-id") == second.header("webhook-id")


async def test_an_endpoint_that_answers_410_is_closed(tmp_path: Path) -> None:
    """Its waiting jobs are dead, and events of other uploads are not delivered to it."""
    with receiving() as receiver, receiving() as other:
        receiver.answers["post-create"] = Answer(status=410)
        settings = settings_for(endpoint(receiver.url), endpoint(other.url, name="other"))
        server = start_server(tmp_path / "data", settings=settings)
        try:
            await upload(server.url)
            await eventually(lambda: len(other.calls) >= 3, "the other endpoint gets all events")
            await eventually(lambda: server.log.read_text().count("job is dead") >= 3, "its jobs are dead")
            await upload(server.url)
            await eventually(lambda: len(other.calls) >= 6, "the other endpoint gets all events")
        finally:
            server.stop()
        assert ["post-create"] == [call.hook for call in receiver.calls]


async def test_410_of_a_tusd_receiver_closes_nothing(tmp_path: Path) -> None:
    """The job is dead; all other hooks are delivered."""
    with receiving() as receiver:
        receiver.answers["post-create"] = [Answer(status=410)]
        server = start_server(tmp_path / "data", settings={"HOOKS__HTTP_URLS": receiver.url})
        try:
            await upload(server.url)
            await eventually(lambda: len(receiver.of("post-finish")) == 1, "post-finish is delivered")
            await upload(server.url)
            await eventually(lambda: len(receiver.of("post-finish")) == 2, "the next upload is delivered")
        finally:
            server.stop()
        assert len(receiver.of("post-create")) == 2


async def test_failing_hook_holds_the_next_for_one_attempt(tmp_path: Path) -> None:
    """post-finish is delivered though post-create fails; post-create is not delivered after it."""
    with receiving() as receiver:
        receiver.answers["post-create"] = Answer(status=500)
        settings = {"HOOKS__HTTP_URLS": receiver.url, "HOOKS__ENABLED_EVENTS": "post-create,post-finish"}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            await upload(server.url)
            await eventually(lambda: bool(receiver.of("post-finish")), "post-finish is delivered")
            calls = len(receiver.calls)
            await eventually(lambda: "event superseded" in server.log.read_text(), server.log.read_text())
            assert calls == len(receiver.calls), server.log.read_text()
        finally:
            server.stop()
        assert receiver.calls[0].hook == "post-create"


async def test_private_addresses_are_refused(tmp_path: Path) -> None:
    """Without ``allow_private`` a receiver on this host gets nothing, and the log says why."""
    with receiving() as receiver:
        server = start_server(tmp_path / "data", settings=settings_for(endpoint(receiver.url, allow_private=False)))
        try:
            await upload(server.url)
            await eventually(lambda: "which is not public" in server.log.read_text(), "the log says why")
        finally:
            server.stop()
        assert [] == receiver.calls


async def test_programs_get_events(tmp_path: Path) -> None:
    """The program of a ``post-`` hook gets tusd's JSON."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "post-finish"
    program.write_text('#!/bin/sh\ncat > "$TUS_ID.json"\n')
    program.chmod(0o755)
    server = start_server(tmp_path / "data", settings={"HOOKS__EXECUTABLES_DIR": str(programs)})
    try:
        upload_id = await upload(server.url)
        said = programs / f"{upload_id}.json"
        await eventually(lambda: said.exists() and said.stat().st_size > 0, "the program has run")
    finally:
        server.stop()
    assert json.loads(said.read_text())["Event"]["Upload"]["ID"] == upload_id


async def test_post_receive_stops_an_upload(tmp_path: Path) -> None:
    """tusd's StopUpload terminates an incomplete upload like a DELETE."""
    with receiving() as receiver:
        receiver.answers["post-receive"] = Answer({"StopUpload": True})
        server = start_server(tmp_path / "data", settings={"HOOKS__HTTP_URLS": receiver.url})
        try:
            location = await create(server.url, 8)
            assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 204
            await eventually(lambda: bool(receiver.of("post-terminate")), "the upload is ended")
            assert (await request("HEAD", location, TUS)).status == 404
        finally:
            server.stop()


async def test_post_finish_moved_the_file(tmp_path: Path) -> None:
    """A program that moves the file and says where: the upload is moved, and GET is 410 instead of a cut response."""
    program = tmp_path / "hooks" / "post-finish"
    program.parent.mkdir()
    moved = tmp_path / "moved"
    response = json.dumps({"ChangeFileInfo": {"Storage": {"Path": str(moved)}}})
    program.write_text(f"#!/bin/sh\nmv '{tmp_path}/data/uploads/'\"$TUS_ID\" '{moved}'\necho '{response}'\n")
    program.chmod(0o755)
    server = start_server(
        tmp_path / "data", settings={"API__ENABLED": "true", "HOOKS__EXECUTABLES_DIR": str(program.parent)}
    )
    try:
        location = await create(server.url, 4)
        assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 204
        shown = location.replace("/files/", "/api/uploads/")

        async def status() -> str:
            return str(json.loads((await request("GET", shown, {})).body)["status"])

        deadline = time.monotonic() + 20
        while await status() != "moved":
            assert time.monotonic() < deadline, await status()
            await asyncio.sleep(0.02)
        assert moved.read_bytes() == b"0123"
        gone = await request("GET", location, {})
        assert (gone.status, b"ERR_CONTENT_GONE" in gone.body) == (410, True)
        assert (await request("HEAD", location, TUS)).offset == 4
    finally:
        server.stop()


async def test_an_endpoint_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """Even if more deliveries wait for it than a worker makes at once."""
    with receiving() as slow, receiving() as fast:
        slow.answers["post-create"] = HANG
        settings = settings_for(endpoint(slow.url, name="slow", timeout_seconds=60), endpoint(fast.url, name="fast"))
        server = start_server(tmp_path / "data", settings=settings)
        try:
            for _ in range(20):
                await upload(server.url)
            await eventually(lambda: len(fast.calls) == 60, "the other endpoint gets all events")
            assert {"post-create"} == {call.hook for call in slow.calls}
        finally:
            server.kill()
