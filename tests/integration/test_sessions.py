"""Sessions of the older shape on a running server: chunks in any order, ends, owners, quotas, and kills."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import TUS, Answer, Connection, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

ALICE, BOB, VERA = bearer("alice"), bearer("bob"), bearer("vera", roles=["viewer"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without access control."""
    running = start_server(
        tmp_path_factory.mktemp("sessions") / "data", settings={"API__ENABLED": "true", "EVENTS__RECORD": "true"}
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with access control, quotas and a rate."""
    settings = {
        "JWT__SECRET": SECRET,
        "ACCESS__ANONYMOUS": "none",
        "API__ENABLED": "true",
        "QUOTAS__ENABLED": "true",
        "QUOTAS__BYTES_PER_DAY": "1000",
    }
    running = start_server(tmp_path_factory.mktemp("closed") / "data", settings=settings)
    yield running
    running.stop()


async def call(
    server: RunningServer,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    fields, data = dict(headers or {}), b""
    if isinstance(body, bytes):
        fields["Content-Type"], data = "application/octet-stream", body
    elif body is not None:
        fields["Content-Type"], data = "application/json", json.dumps(body).encode()
    return await request(method, f"{server.root}/api/sessions{path}", fields, data)


async def created(
    server: RunningServer, size: int, count: int, headers: Mapping[str, str] | None = None, **more: object
) -> str:
    body = {"file_name": "scan.bin", "file_size": size, "chunk_count": count, **more}
    answer = await call(server, "POST", "", body, headers)
    assert answer.status == 201, answer
    session: str = json.loads(answer.body)["id"]
    assert answer.headers["location"] == f"/api/sessions/{session}"
    return session


def content(answer: Answer) -> Any:
    return json.loads(answer.body)


async def completed(server: RunningServer, session: str, headers: Mapping[str, str] | None = None) -> Any:
    """The session, once it is complete."""
    for _ in range(600):
        shown = content(await call(server, "GET", f"/{session}", headers=headers))
        if shown["status"] not in ("assembling", "processing"):
            return shown
        await asyncio.sleep(0.05)
    raise AssertionError(shown)


async def test_chunks_in_any_order_and_in_parallel(server: RunningServer) -> None:
    """The file is the chunks in the order of their numbers, whatever the order in which they came."""
    chunks = [random.Random(number).randbytes(1000) for number in range(20)]
    whole = b"".join(chunks)
    session = await created(server, len(whole), 20, chunk_size=1000, metadata={"camera": "7"})
    order = list(range(20))
    random.Random(1).shuffle(order)
    first, rest = order[0], order[1:]
    answer = await call(server, "PUT", f"/{session}/chunks/{first}", chunks[first])
    assert (answer.status, content(answer)) == (201, {"session_id": session, "index": first, "size": 1000})
    assert content(await call(server, "GET", f"/{session}/chunks"))["received"] == [first]
    early = await call(server, "POST", f"/{session}/finalize")
    assert (early.status, content(early)["code"], content(early)["missing"]) == (
        409,
        "ERR_CHUNKS_MISSING",
        sorted(rest),
    )
    answers = await asyncio.gather(*(call(server, "PUT", f"/{session}/chunks/{each}", chunks[each]) for each in rest))
    assert {each.status for each in answers} == {201}
    assert content(await call(server, "GET", f"/{session}"))["received_count"] == 20
    done = await call(server, "POST", f"/{session}/finalize")
    assert done.status in (200, 202)
    shown = await completed(server, session)
    assert (shown["status"], shown["upload_id"], shown["metadata"]) == ("completed", session, {"camera": "7"})
    assert (await request("GET", shown["upload_url"], {})).body == whole
    upload = content(await request("GET", f"{server.root}/api/uploads/{session}", {}))
    assert (upload["name"], upload["kind"], upload["length"]) == ("scan.bin", "final", 20_000)
    again = await call(server, "POST", f"/{session}/finalize")
    assert (again.status, content(again)["status"]) == (200, "completed")
    late = await call(server, "PUT", f"/{session}/chunks/0", chunks[0])
    assert (late.status, content(late)["code"]) == (409, "ERR_SESSION_FINALIZED")
    # The chunks do not stay beside the file.
    await eventually(lambda: [path.name for path in (server.data_dir / "uploads").glob("[!.]*")] == [session])
    listed = content(await request("GET", f"{server.root}/api/uploads/{session}/parts?limit=1000", {}))
    assert {each.get("status", "terminated") for each in listed["parts"]} <= {"terminated", "ready"}


async def test_chunk_put_again_replaces(server: RunningServer) -> None:
    """The newest chunk counts; a chunk that breaks off, or has a wrong checksum or length, changes nothing."""
    session = await created(server, 8, 2, chunk_size=4)
    assert (await call(server, "PUT", f"/{session}/chunks/0", b"xxxx")).status == 201
    digest = base64.b64encode(hashlib.sha1(b"abcd").digest()).decode()
    good, bad = {"Upload-Checksum": f"sha1 {digest}"}, {"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    wrong = await call(server, "PUT", f"/{session}/chunks/0", b"abcd", bad)
    assert (wrong.status, content(wrong)["code"]) == (400, "ERR_CHECKSUM_MISMATCH")
    assert (await call(server, "PUT", f"/{session}/chunks/0", b"abcd", good)).status == 200
    for body in (b"abc", b"abcde", b""):
        refused = await call(server, "PUT", f"/{session}/chunks/1", body)
        assert (refused.status, content(refused)["code"]) == (409, "ERR_WRONG_LENGTH")
    url = f"{server.root}/api/sessions/{session}/chunks/1"
    connection = await Connection.open(url)
    await connection.send_head("PUT", url, {"Content-Length": "4"})
    await connection.send(b"zz")
    connection.close()
    assert content(await call(server, "GET", f"/{session}/chunks")) == {
        "chunk_count": 2,
        "received": [0],
        "missing": [1],
    }
    assert (await call(server, "PUT", f"/{session}/chunks/1", b"efgh")).status == 201
    await call(server, "POST", f"/{session}/finalize")
    shown = await completed(server, session)
    assert (await request("GET", shown["upload_url"], {})).body == b"abcdefgh"


async def test_one_chunk_put_by_many_at_once_is_kept_once_201(server: RunningServer) -> None:
    """Of eight requests for one chunk one is new and seven replace another; no upload of the others stays."""

    async def living() -> set[str]:
        query = "status=uploading&status=processing&status=ready&limit=1000"
        listed = content(await request("GET", f"{server.root}/api/uploads?{query}", {}))["uploads"]
        return {each["id"] for each in listed if each["kind"] == "partial"}

    before = await living()
    session = await created(server, 4, 1)
    puts = [call(server, "PUT", f"/{session}/chunks/0", b"abcd") for _ in range(8)]
    assert sorted([each.status for each in await asyncio.gather(*puts)]) == [200] * 7 + [201]
    assert len(await living() - before) == 1


@pytest.mark.parametrize("after_seconds", [0.0, 0.005, 0.01, 0.02, 0.04])
async def test_no_file_comes_into_being_after_its_session_is_deleted_204(
    server: RunningServer, after_seconds: float
) -> None:
    """DELETE while the session is finalised: whichever comes first, neither the session nor its file is there."""
    length = 4_000_000
    session = await created(server, 2 * length, 2)
    for index in (0, 1):
        assert (await call(server, "PUT", f"/{session}/chunks/{index}", b"x" * length)).status == 201
    finalize = asyncio.ensure_future(call(server, "POST", f"/{session}/finalize"))
    await asyncio.sleep(after_seconds)
    assert (await call(server, "DELETE", f"/{session}")).status == 204
    assert (await finalize).status in (200, 202, 404, 409)
    assert (await call(server, "GET", f"/{session}")).status == 404
    assert (await request("HEAD", f"{server.url}{session}", TUS)).status == 404


async def test_more_chunks_than_parts_allowed(tmp_path: Path) -> None:
    """``parts_max`` limits what clients name in one request, not the chunks of a session."""
    server = start_server(tmp_path / "data", settings={"API__ENABLED": "true", "UPLOADS__PARTS_MAX": "3"})
    try:
        session = await created(server, 12, 12)
        for number in range(12):
            await call(server, "PUT", f"/{session}/chunks/{number}", b"%x" % number)
        assert (await call(server, "POST", f"/{session}/finalize")).status == 200
        assert (await request("GET", server.url + session, {})).body == b"0123456789ab"
    finally:
        server.stop()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"file_name": "a", "file_size": -1, "chunk_count": 1},
        {"file_name": "a", "file_size": 1, "chunk_count": 0},
        {"file_name": "a", "file_size": 1, "chunk_count": 10_001},
        {"file_name": "a", "file_size": 10, "chunk_count": 2, "chunk_size": 3},
        {"file_name": "a" * 256, "file_size": 1, "chunk_count": 1},
        {"file_name": "a", "file_size": 1, "chunk_count": 1, "metadata": {"a b": "c"}},
        {"file_name": "a", "file_size": 1, "chunk_count": 1, "metadata": {"a": "c" * 9000}},
        {"file_name": "\ud800", "file_size": 1, "chunk_count": 1},
        {"file_name": "a", "file_size": 1, "chunk_count": 1, "other": 1},
    ],
)
async def test_invalid_session_400(server: RunningServer, body: object) -> None:
    """A session that cannot be is refused with a sentence."""
    answer = await call(server, "POST", "", body)
    assert (answer.status, bool(content(answer)["detail"])) == (400, True)


async def test_unknown_and_hostile_404(server: RunningServer) -> None:
    """Unknown sessions, chunks beyond the last, and numbers that are none."""
    session = await created(server, 4, 1)
    for path in (
        "/" + "f" * 32,
        "/%00",
        "/..%2f",
        f"/{session}/chunks/1",
        f"/{session}/chunks/-1",
        f"/{session}/chunks/x",
    ):
        method = "PUT" if "chunks" in path else "GET"
        assert (await call(server, method, path, b"abcd" if method == "PUT" else None)).status == 404, path
    big = b"x" * 3_000_000
    refused = await call(server, "PUT", f"/{session}/chunks/0", big)
    assert (refused.status, content(refused)["code"]) == (409, "ERR_WRONG_LENGTH")


async def test_session_of_another_owner_is_unknown_404(closed: RunningServer) -> None:
    """A session of another owner is unknown; a role that reads sees it; only its owner lists it."""
    session = await created(closed, 4, 1, ALICE)
    unknown = await call(closed, "GET", "/" + "f" * 32, headers=BOB)
    for method, rest in (("GET", ""), ("GET", "/chunks"), ("PUT", "/chunks/0"), ("POST", "/finalize"), ("DELETE", "")):
        body = b"abcd" if method == "PUT" else None
        foreign = await call(closed, method, f"/{session}{rest}", body, BOB)
        assert (foreign.status, foreign.body) == (404, unknown.body), (method, rest)
        assert (await call(closed, method, f"/{session}{rest}", body)).status == 401
    assert (await call(closed, "GET", f"/{session}", headers=VERA)).status == 200
    assert (await call(closed, "PUT", f"/{session}/chunks/0", b"abcd", VERA)).status == 403
    assert (await call(closed, "POST", "", {"file_name": "a", "file_size": 1, "chunk_count": 1}, VERA)).status == 403
    listed = [content(await call(closed, "GET", "", headers=each))["sessions"] for each in (ALICE, BOB, VERA)]
    assert [session in {each["id"] for each in sessions} for sessions in listed] == [True, False, True]
    assert (await call(closed, "PUT", f"/{session}/chunks/0", b"abcd", ALICE)).status == 201
    assert (await call(closed, "POST", f"/{session}/finalize", headers=ALICE)).status in (200, 202)
    shown = await completed(closed, session, ALICE)
    assert (shown["status"], shown["owner"]) == ("completed", "alice")
    assert (await request("HEAD", shown["upload_url"], {**TUS, **BOB})).status == 404
    done = content(await call(closed, "GET", "?status=completed", headers=ALICE))["sessions"]
    assert [each["id"] for each in done] == [session]
    assert (await call(closed, "DELETE", f"/{session}", headers=ALICE)).status == 204
    assert (await call(closed, "GET", f"/{session}", headers=ALICE)).status == 404


async def test_quota_holds(closed: RunningServer) -> None:
    """Chunks count against the quota of the owner, and the file counts once."""
    carol = bearer("carol")
    session = await created(closed, 1200, 2, carol, chunk_size=600)
    assert (await call(closed, "PUT", f"/{session}/chunks/0", b"x" * 600, carol)).status == 201
    refused = await call(closed, "PUT", f"/{session}/chunks/1", b"x" * 600, carol)
    assert (refused.status, content(refused)["code"]) == (413, "ERR_QUOTA_EXCEEDED")
    dave = bearer("dave")
    session = await created(closed, 800, 2, dave, chunk_size=400)
    for number in range(2):
        assert (await call(closed, "PUT", f"/{session}/chunks/{number}", b"x" * 400, dave)).status == 201
    assert (await call(closed, "POST", f"/{session}/finalize", headers=dave)).status in (200, 202)
    await completed(closed, session, dave)
    quota = content(await request("GET", f"{closed.root}/api/quota", dave))
    assert [each["used"] for each in quota["quotas"] if each["quota"] == "bytes_per_day"] == [800]


async def test_chunks_are_read_at_the_rate_of_one_upload(tmp_path: Path) -> None:
    """Two chunks at once share the bytes per second of their file: they take as long as the file."""
    settings = {"API__ENABLED": "true", "RATES__BYTES_PER_SECOND_PER_UPLOAD": "2MiB"}
    server = start_server(tmp_path / "data", settings=settings)
    chunk = random.Random(1).randbytes(3 * 2**19)
    try:
        session = await created(server, 2 * len(chunk), 2)
        started = time.monotonic()
        answers = await asyncio.gather(*(call(server, "PUT", f"/{session}/chunks/{index}", chunk) for index in (0, 1)))
        assert [each.status for each in answers] == [201, 201]
        assert time.monotonic() - started > 1.1
        assert (await call(server, "POST", f"/{session}/finalize")).status == 200
        assert (await request("GET", server.url + session, {})).body == 2 * chunk
    finally:
        server.stop()


async def test_sessions_without_a_chunk_503(tmp_path: Path) -> None:
    """A client that creates sessions and sends nothing is stopped at ``empty_per_client_max``, with a sentence."""
    server = start_server(tmp_path / "data", settings={"API__ENABLED": "true", "UPLOADS__EMPTY_PER_CLIENT_MAX": "2"})
    try:
        session = await created(server, 4, 1)
        await created(server, 4, 1)
        body = {"file_name": "scan.bin", "file_size": 4, "chunk_count": 1}
        refused = await call(server, "POST", "", body)
        assert (refused.status, content(refused)["code"]) == (503, "ERR_TOO_MANY_EMPTY_UPLOADS")
        assert "have no chunk yet" in content(refused)["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert (await call(server, "PUT", f"/{session}/chunks/0", b"abcd")).status == 201
    finally:
        server.stop()


async def test_kill_between_chunks_and_at_finalize(tmp_path: Path) -> None:
    """After ``kill -9`` the received chunks are still there, and finalising is repeated without a second file."""
    settings = {"API__ENABLED": "true", "EVENTS__RECORD": "true", "UPLOADS__JOIN_AT_ONCE_BYTES_MAX": "0"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        session = await created(server, 300_000, 3, chunk_size=100_000)
        chunks = [random.Random(number).randbytes(100_000) for number in range(3)]
        for number in (2, 0):
            assert (await call(server, "PUT", f"/{session}/chunks/{number}", chunks[number])).status == 201
        server.kill()
        server = start_server(tmp_path / "data", settings=settings)
        assert content(await call(server, "GET", f"/{session}/chunks"))["missing"] == [1]
        assert (await call(server, "PUT", f"/{session}/chunks/1", chunks[1])).status == 201
        finalizing = asyncio.create_task(call(server, "POST", f"/{session}/finalize"))
        await asyncio.sleep(0)
        server.kill()
        await asyncio.gather(finalizing, return_exceptions=True)
        server = start_server(tmp_path / "data", settings=settings)
        answers = await asyncio.gather(*(call(server, "POST", f"/{session}/finalize") for _ in range(4)))
        assert {each.status for each in answers} <= {200, 202, 423}
        shown = await completed(server, session)
        assert shown["status"] == "completed"
        assert (await request("GET", shown["upload_url"], {})).body == b"".join(chunks)
        events = content(await request("GET", f"{server.root}/api/events?upload={session}", {}))["events"]
        assert [each["type"] for each in events].count("post-finish") == 1
    finally:
        server.stop()


def example(language: str) -> str:
    """The example in the section of the documentation."""
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    section = text.partition("## Sessions\n")[2].partition("\n## ")[0]
    return section.partition(f"```{language}\n")[2].partition("```")[0]


async def test_documented_examples(server: RunningServer, tmp_path: Path) -> None:
    """What ``docs/api.md`` shows works as it stands there, with curl and with Python."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SERVER": server.root}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    shell = await asyncio.to_thread(run, "bash", "-euo", "pipefail", "-c", example("sh"))
    assert (shell.returncode, '"received":[0,1,2]' in shell.stdout) == (0, True), shell
    python = await asyncio.to_thread(run, sys.executable, "-c", example("python"), server.root, "scan.bin")
    assert (python.returncode, python.stdout) == (0, "completed\n"), python
