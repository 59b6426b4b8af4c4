"""Access control on the wire: every role, verb and upload, in tus, the draft, downloads, the API and the metrics."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, Connection, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, Signer, bearer, key_set, token

pytestmark = pytest.mark.anyio

DRAFT = {"Upload-Draft-Interop-Version": "8"}
ROLES = {
    "uploader": bearer("bob"),
    "viewer": bearer("vera", roles=["viewer"]),
    "moderator": bearer("mo", roles=["moderator"]),
    "admin": bearer("root", roles=["admin"]),
    "roleless": bearer("eve", roles=[]),
    "anonymous": {},
}
ALICE = bearer("alice")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that refuses anonymous clients."""
    yield from started(tmp_path_factory, "none")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lets anonymous clients upload beside those with tokens."""
    yield from started(tmp_path_factory, "all")


def started(tmp_path_factory: pytest.TempPathFactory, anonymous: str) -> Iterator[RunningServer]:
    settings = {"JWT__SECRET": SECRET, "ACCESS__ANONYMOUS": anonymous, "API__ENABLED": "true", "EVENTS__RECORD": "true"}
    running = start_server(tmp_path_factory.mktemp("access") / "data", settings=settings)
    yield running
    running.stop()


async def create(
    server: RunningServer, headers: Mapping[str, str], length: int = 4, content: bytes | None = None
) -> str:
    """Create an upload, with its content in the same request, and return its URL."""
    body = {} if content is None else {"Content-Type": "application/offset+octet-stream"}
    answer = await request("POST", server.url, {**TUS, **headers, **body, "Upload-Length": str(length)}, content or b"")
    assert answer.status == 201, answer
    return urljoin(server.url, answer.headers["location"])


async def ask(verb: str, url: str, headers: Mapping[str, str], protocol: str) -> Answer:
    """One request that uses ``verb`` on the upload at ``url``; a PATCH brings no byte."""
    base = TUS if protocol == "tus" else DRAFT
    if verb != "PATCH":
        return await request(verb, url, {**base, **headers})
    if protocol == "tus":
        return await request("PATCH", url, {**patch_headers(0), **headers}, b"")
    partial = {"Content-Type": "application/partial-upload", "Upload-Offset": "0", "Upload-Complete": "?0"}
    return await request("PATCH", url, {**base, **partial, **headers}, b"")


#: The statuses for HEAD, PATCH, DELETE and GET on the unfinished upload of another owner. A GET that is permitted is
#: 404 too, because the upload is unfinished: its body says so.
FOREIGN = {
    "uploader": (404, 404, 404, "ERR_UPLOAD_NOT_FOUND"),
    "roleless": (404, 404, 404, "ERR_UPLOAD_NOT_FOUND"),
    "viewer": (200, 403, 403, "ERR_INCOMPLETE_UPLOAD"),
    "moderator": (200, 403, 204, "ERR_INCOMPLETE_UPLOAD"),
    "admin": (200, 204, 204, "ERR_INCOMPLETE_UPLOAD"),
    "anonymous": (401, 401, 401, "ERR_UNAUTHENTICATED"),
}


@pytest.mark.parametrize("role", FOREIGN)
@pytest.mark.parametrize("protocol", ["tus", "draft"])
async def test_foreign_upload(closed: RunningServer, role: str, protocol: str) -> None:
    """Every role and verb on the unfinished upload of another owner."""
    url = await create(closed, ALICE)
    for verb, expected in zip(("HEAD", "PATCH"), FOREIGN[role], strict=False):
        answer = await ask(verb, url, ROLES[role], protocol)
        assert answer.status == expected or {answer.status, expected} <= {200, 201, 204}, (verb, answer)
    download = await ask("GET", url, ROLES[role], "tus")
    assert FOREIGN[role][3].encode() in download.body
    answer = await ask("DELETE", url, ROLES[role], protocol)
    assert answer.status == FOREIGN[role][2], answer
    if answer.status != 204:
        assert (await ask("HEAD", url, ALICE, "tus")).status == 200


@pytest.mark.parametrize("protocol", ["tus", "draft"])
async def test_foreign_and_unknown_are_indistinguishable_404(closed: RunningServer, protocol: str) -> None:
    """Status, body and headers of the answers are the same, except for the date and the id of the request."""
    url = await create(closed, ALICE, content=b"ab")
    unknown = re.sub(r"[0-9a-f]{32}$", "f" * 32, url)
    for verb in ("HEAD", "PATCH", "DELETE", "GET"):
        spoken = "tus" if verb == "GET" else protocol
        answers = [await ask(verb, each, ROLES["uploader"], spoken) for each in (url, unknown)]
        seen = [
            (each.status, each.body, {n: v for n, v in each.headers.items() if n not in ("date", "x-request-id")})
            for each in answers
        ]
        assert seen[0] == seen[1]
        assert seen[0][0] == 404


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("protocol", ["tus", "draft"])
async def test_who_may_create_is_answered_without_a_byte(closed: RunningServer, role: str, protocol: str) -> None:
    """Uploaders, moderators and admins may create; no byte of a refused request is needed for the answer."""
    expected = {"uploader": 201, "moderator": 201, "admin": 201, "viewer": 403, "roleless": 403, "anonymous": 401}[role]
    headers = {**TUS, "Upload-Length": "4"} if protocol == "tus" else {**DRAFT, "Upload-Complete": "?0"}
    answer = await request("POST", closed.url, {**headers, **ROLES[role]}, b"")
    assert answer.status == expected, answer
    assert ("www-authenticate" in answer.headers) == (expected == 401)


async def test_own_upload(closed: RunningServer) -> None:
    """The owner does everything with the upload, and its JSON has the owner."""
    url = await create(closed, ALICE)
    assert (await request("PATCH", url, {**patch_headers(0), **ALICE}, b"abcd")).status == 204
    assert (await request("GET", url, ALICE)).body == b"abcd"
    shown = await request("GET", f"{closed.root}/api/uploads/{url.rsplit('/', 1)[1]}", ALICE)
    assert json.loads(shown.body)["owner"] == "alice"
    assert (await request("DELETE", url, {**TUS, **ALICE})).status == 204


@pytest.mark.parametrize("role", ROLES)
async def test_api_and_metrics(closed: RunningServer, role: str) -> None:
    """Lists and metrics need a role that observes, changes admin, one upload needs to be readable; health is open."""
    observes = {"viewer": 200, "moderator": 200, "admin": 200, "anonymous": 401}.get(role, 403)
    for path in ("/metrics", "/api/jobs", "/api/events", "/api/endpoints"):
        answer = await request("GET", closed.root + path, ROLES[role])
        assert answer.status == observes, (path, answer)
        assert ("www-authenticate" in answer.headers) == (observes == 401)
    operates = {"admin": 409, "anonymous": 401}.get(role, 403)
    assert (await request("POST", f"{closed.root}/api/jobs/999/retry", ROLES[role], b"")).status == operates
    assert (await request("DELETE", f"{closed.root}/api/jobs/999", ROLES[role])).status == operates
    upload_id = (await create(closed, ALICE)).rsplit("/", 1)[1]
    known, unknown = [
        await request("GET", f"{closed.root}/api/uploads/{each}", ROLES[role]) for each in (upload_id, "f" * 32)
    ]
    assert known.status == {"anonymous": 401, "uploader": 404, "roleless": 404}.get(role, 200)
    if known.status != 200:
        assert (known.status, known.body) == (unknown.status, unknown.body)
    for path in ("/healthz", "/readyz"):
        assert (await request("GET", closed.root + path, ROLES[role])).status == 200


async def test_anonymous_uploads_stay_capabilities(opened: RunningServer) -> None:
    """Where anonymous clients may upload, their URL is all that an upload needs, and tokens protect those of owners."""
    public, owned = await create(opened, {}), await create(opened, ALICE)
    for headers in ({}, ALICE, ROLES["uploader"]):
        assert (await request("HEAD", public, {**TUS, **headers})).status == 200
    assert (await request("HEAD", owned, TUS)).status == 404
    assert (await request("HEAD", owned, {**TUS, **ALICE})).status == 200
    assert (await request("HEAD", public, {**TUS, "Authorization": "Bearer x"})).status == 401
    assert (await request("GET", f"{opened.root}/metrics", {})).status == 401


async def test_foreign_part_400(closed: RunningServer) -> None:
    """A part of another owner in a concatenation is the same 400 as an unknown one."""
    partial = {"Upload-Concat": "partial"}
    own = await create(closed, {**ROLES["uploader"], **partial}, content=b"abcd")
    foreign = await create(closed, {**ALICE, **partial}, content=b"abcd")
    unknown = re.sub(r"[0-9a-f]{32}$", "f" * 32, foreign)
    answers = [
        await request("POST", closed.url, {**TUS, **ROLES["uploader"], "Upload-Concat": f"final;{own} {other}"}, b"")
        for other in (foreign, unknown)
    ]
    assert [(each.status, each.body) for each in answers] == [(400, answers[0].body)] * 2
    joined = {**TUS, **ROLES["uploader"], "Upload-Concat": f"final;{own} {own}"}
    assert (await request("POST", closed.url, joined, b"")).status == 201


@pytest.mark.parametrize("headers", [ROLES["viewer"], bearer("alice", seconds=-60)], ids=["viewer", "expired"])
async def test_reader_never_interrupts_a_writer(closed: RunningServer, headers: dict[str, str]) -> None:
    """HEAD of a client that may only read, or whose token has expired, shows the saved offset; the PATCH goes on."""
    url = await create(closed, ALICE)
    connection = await Connection.open(url)
    try:
        await connection.send_head("PATCH", url, {**patch_headers(0, 4), **ALICE})
        await connection.send(b"ab")
        for _ in range(3):
            assert (await request("HEAD", url, {**TUS, **headers})).status == 200
        await connection.send(b"cd")
        assert (await connection.answer()).offset == 4
    finally:
        connection.close()


async def test_expired_token_ends_no_running_patch(closed: RunningServer) -> None:
    """A token that expires while a PATCH runs does not cut it; the next PATCH is 401, HEAD still 200."""
    brief = bearer("alice", seconds=-25)  # within the leeway of 30 seconds for a moment longer
    url = await create(closed, ALICE, length=6)
    connection = await Connection.open(url)
    try:
        await connection.send_head("PATCH", url, {**patch_headers(0, 4), **brief})
        await connection.send(b"ab")
        for _ in range(300):
            if (await request("DELETE", closed.url + "f" * 32, {**TUS, **brief})).status == 401:
                break
            await asyncio.sleep(0.1)
        await connection.send(b"cd")
        assert (await connection.answer()).offset == 4
    finally:
        connection.close()
    answer = await request("PATCH", url, {**patch_headers(4), **brief}, b"ef")
    assert (answer.status, answer.headers["www-authenticate"]) == (
        401,
        'Bearer realm="tusd-py", error="invalid_token", error_description="the token has expired"',
    )
    inspected = await request("HEAD", url, {**TUS, **brief})
    assert (inspected.status, inspected.offset) == (200, 4)
    assert (await request("PATCH", url, {**patch_headers(4), **ALICE}, b"ef")).offset == 6


async def test_tokens_are_in_no_log_and_no_event(closed: RunningServer) -> None:
    """Neither the log nor the database has a token, wherever it was sent."""
    secret = token("alice", marker="in-no-log")
    await create(closed, {"Authorization": f"Bearer {secret}"})
    await request("GET", f"{closed.url}x?jwt={secret}", {"Cookie": f"jwt={secret}", "Authorization": "Bearer x"})
    for path in (closed.log, *closed.data_dir.glob("tusd.sqlite3*")):
        assert secret.split(".")[1].encode() not in path.read_bytes()


async def test_published_keys(tmp_path: Path) -> None:
    """Keys of a JWKS URL: a rotated key is found, and known keys stay valid while the URL is down."""
    one = Signer("one")
    document = [key_set(one)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document[0])

        def log_message(self, *_: object) -> None:
            pass

    provider = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{provider.server_port}/jwks.json"
    server = start_server(tmp_path / "data", settings={"JWT__JWKS_URL": url, "ACCESS__ANONYMOUS": "none"})
    try:
        ours = {"Authorization": f"Bearer {one.token()}"}
        created = await create(server, ours)
        provider.shutdown()
        provider.server_close()
        assert (await request("HEAD", created, {**TUS, **ours})).status == 200
        attacker = {"Authorization": f"Bearer {Signer('one').token()}"}
        assert (await request("HEAD", created, {**TUS, **attacker})).status == 401
    finally:
        server.stop()


async def test_key_set_that_is_down_503(tmp_path: Path) -> None:
    """Before any key is known, a token is answered 503, HEAD 423: the client may retry and loses nothing."""
    settings = {"JWT__JWKS_URL": "http://127.0.0.1:9/jwks.json", "ACCESS__ANONYMOUS": "none"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        headers = {**TUS, "Authorization": f"Bearer {Signer().token()}"}
        refused = await request("POST", server.url, {**headers, "Upload-Length": "1"}, b"")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert (await request("HEAD", server.url + "f" * 32, headers)).status == 423
    finally:
        server.stop()
