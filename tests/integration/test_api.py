"""The JSON API of a running server: lists by role, one upload, bulk operations on jobs, and hostile requests."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import pytest

from tests.support.client import TUS, Answer, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio

ALICE, BOB, EVE = bearer("alice"), bearer("bob"), bearer("eve", roles=[])
VERA, ROOT = bearer("vera", roles=["viewer"]), bearer("root", roles=["admin"])


@pytest.fixture(scope="module", params=["none", "all"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with access control, without and with anonymous clients."""
    settings = {
        "JWT__SECRET": SECRET,
        "ACCESS__ANONYMOUS": request.param,
        "API__ENABLED": "true",
        "EVENTS__RECORD": "true",
    }
    running = start_server(tmp_path_factory.mktemp("api") / "data", settings=settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with all lists."""
    settings = {
        "JWT__SECRET": SECRET,
        "API__ENABLED": "true",
        "ACCOUNTS__ENABLED": "true",
        "ACCOUNTS__API_KEYS": "true",
        "AUDIT__ENABLED": "true",
        "CODES__ENABLED": "true",
    }
    running = start_server(tmp_path_factory.mktemp("lists") / "data", settings=settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without access control."""
    running = start_server(tmp_path_factory.mktemp("open") / "data", settings={"API__ENABLED": "true"})
    yield running
    running.stop()


async def upload(
    server: RunningServer, headers: Mapping[str, str], name: str, content: bytes = b"abcd", **more: str
) -> str:
    """A complete upload; returns its id."""
    metadata = (
        f"filename {base64.b64encode(name.encode()).decode()},filetype {base64.b64encode(b'text/plain').decode()}"
    )
    fields = {**TUS, **headers, "Upload-Metadata": metadata, "Upload-Length": str(len(content)), **more}
    fields["Content-Type"] = "application/offset+octet-stream"
    answer = await request("POST", server.url, fields, content)
    assert answer.status == 201, answer
    return urljoin(server.url, answer.headers["location"]).rsplit("/", 1)[1]


async def call(
    server: RunningServer, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None
) -> Answer:
    fields, data = dict(headers or {}), b""
    if body is not None:
        fields["Content-Type"], data = "application/json", json.dumps(body).encode()
    return await request(method, f"{server.root}/api/{path}", fields, data)


async def get(server: RunningServer, path: str, headers: Mapping[str, str] | None = None) -> Any:
    answer = await call(server, "GET", path, headers)
    assert answer.status == 200, answer
    return json.loads(answer.body)


async def names(server: RunningServer, query: str, headers: Mapping[str, str]) -> list[str]:
    """The names of a whole list, page by page."""
    found, cursor = [], ""
    while True:
        page = await get(server, f"uploads?{query}&limit=2{cursor}", headers)
        found += [each["name"] for each in page["uploads"]]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def test_lists_by_role(server: RunningServer) -> None:
    """Owners list their own uploads, roles those of everybody; public ones are listed to roles only."""
    for number in range(3):
        await upload(server, ALICE, f"lists-a{number}")
        await upload(server, BOB, f"lists-b{number}")
    own = ["lists-a2", "lists-a1", "lists-a0"]
    assert await names(server, "name=LISTS", ALICE) == own
    assert await names(server, "name=lists&owner=alice", ALICE) == own
    assert await names(server, "name=lists&owner=bob", ALICE) == []
    everybody = ["lists-a0", "lists-a1", "lists-a2", "lists-b0", "lists-b1", "lists-b2"]
    assert await names(server, "name=lists", VERA) == everybody
    assert await names(server, "name=lists&owner=bob&status=ready&status=failed", ROOT) == everybody[:2:-1]
    assert await names(server, "name=lists&status=failed", ROOT) == []
    assert await names(server, "name=lists&declared_type=text/plain&created_before=2020-01-01", ROOT) == []
    assert [await status(server, "uploads", each) for each in ({}, EVE)] == [401, 403]


async def status(server: RunningServer, path: str, headers: Mapping[str, str], method: str = "GET") -> int:
    return (await call(server, method, path, headers)).status


async def test_public_uploads_are_not_listed(opened: RunningServer, server: RunningServer) -> None:
    """An upload without an owner is protected by its URL alone, so lists show it to roles only."""
    if (await request("POST", server.url, {**TUS, "Upload-Length": "1"}, b"")).status == 401:
        return
    public = await upload(server, {}, "public")
    assert await names(server, "name=public", VERA) == ["public"]
    assert public not in json.dumps(await get(server, "uploads?limit=1000", ALICE))
    assert public in {each["id"] for each in (await get(server, "uploads?owner=", VERA))["uploads"]}
    free = await upload(opened, {}, "free")
    assert (await get(opened, "uploads?name=free"))["uploads"][0]["id"] == free


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("GET", "/metadata"),
        ("GET", "/content"),
        ("GET", "/parts"),
        ("GET", "/events"),
        ("DELETE", ""),
        ("HEAD", ""),
    ],
)
async def test_foreign_is_as_unknown_404(server: RunningServer, method: str, rest: str) -> None:
    """Every resource of another owner's upload answers as for an id that no upload has."""
    foreign = await upload(server, ALICE, "secret")
    known, unknown = [await call(server, method, f"uploads/{each}{rest}", BOB) for each in (foreign, "f" * 32)]
    assert (known.status, known.body) == (404, unknown.body)
    assert known.headers.get("content-length") == unknown.headers.get("content-length")
    assert await status(server, f"uploads/{foreign}{rest}", {}, method) == 401


async def test_one_upload(server: RunningServer) -> None:
    """The upload with metadata, events, jobs and content; with ranges; deleted by its owner or an admin only."""
    mine = await upload(server, ALICE, "one.txt", b"0123456789")
    assert (await get(server, f"uploads/{mine}/metadata", ALICE))["metadata"]["filename"] == "one.txt"
    events = (await get(server, f"uploads/{mine}/events", ALICE))["events"]
    assert [each["type"] for each in events][-1] == "upload.ready"
    assert await status(server, f"uploads/{mine}/jobs", ALICE) == 403
    assert await get(server, f"uploads/{mine}/jobs", VERA) == {"jobs": []}
    whole = await call(server, "GET", f"uploads/{mine}/content", ALICE)
    assert (whole.body, whole.headers["content-disposition"][:10]) == (b"0123456789", "attachment")
    part = await call(server, "GET", f"uploads/{mine}/content", {**ALICE, "Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    head = await call(server, "HEAD", f"uploads/{mine}/content", VERA)
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    assert await status(server, f"uploads/{mine}", VERA, "DELETE") == 403
    assert await status(server, f"uploads/{mine}", ALICE, "DELETE") == 204
    assert (await get(server, f"uploads/{mine}", ALICE))["status"] == "terminated"
    again = await call(server, "DELETE", f"uploads/{mine}", ALICE)
    assert (again.status, json.loads(again.body)["code"]) == (404, "ERR_UPLOAD_NOT_FOUND")


async def test_parts_of_a_final_upload_come_in_order(server: RunningServer) -> None:
    """The parts of a final upload in order, page by page, also after they are gone."""
    ids = [await upload(server, ALICE, "", b"ab", **{"Upload-Concat": "partial"}) for _ in range(3)]
    urls = " ".join(f"/files/{each}" for each in ids)
    made = await request("POST", server.url, {**TUS, **ALICE, "Upload-Concat": f"final;{urls}"}, b"")
    final = made.headers["location"].rsplit("/", 1)[1]
    first = await get(server, f"uploads/{final}/parts?limit=2", ALICE)
    rest = await get(server, f"uploads/{final}/parts?limit=2&cursor={first['next']}", ALICE)
    assert ([each["id"] for each in first["parts"] + rest["parts"]], rest["next"]) == (ids, None)
    assert await get(server, f"uploads/{ids[0]}/parts", ALICE) == {"parts": [], "next": None}


async def test_roles_of_the_rest(server: RunningServer) -> None:
    """Health and lists need a role that observes, bulk operations one that operates."""
    for path in ("health", "jobs", "events", "endpoints"):
        assert [await status(server, path, each) for each in ({}, ALICE, VERA)] == [401, 403, 200]
    for path in ("jobs/retry", "jobs/drop"):
        answers = [await call(server, "POST", path, each, {"ids": [1, 2]}) for each in ({}, VERA, ROOT)]
        assert [each.status for each in answers] == [401, 403, 200]
        assert json.loads(answers[2].body)["skipped"] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": [1], "state": "dead"},
        {"ids": [], "upload": "x"},
        {"ids": [1], "upload": 7},
        {"ids": ["1"]},
        {"ids": [-1]},
        {"ids": [2**63]},
        {"ids": [True]},
        {"ids": list(range(1001))},
        {"state": "running"},
        {"state": "dead", "upload": "\0"},
        {"state": "dead", "other": 1},
        [],
    ],
)
async def test_invalid_selection_400(opened: RunningServer, body: object) -> None:
    """A selection that names nothing, too much, or what no number is, changes nothing."""
    assert (await call(opened, "POST", "jobs/drop", {}, body)).status == 400


async def test_wrong_methods_405(opened: RunningServer) -> None:
    """Every resource refuses other methods with ``Allow``, whatever the body."""
    for path, allow in (("uploads", "GET, HEAD"), ("uploads/x", "DELETE, GET, HEAD"), ("jobs/retry", "POST")):
        for method in ("PUT", "PATCH", "OPTIONS", "TRACE"):
            answer = await request(method, f"{opened.root}/api/{path}", {}, b"{" if method == "PUT" else None)
            assert (answer.status, answer.headers["allow"]) == (405, allow), (method, path)


HOSTILE = ["%00", "%ff", "..", "%2e%2e", "a%2fb", "%2F", "%0d%0aX:%20y", "'", "a" * 5000, "%F0%9F%98%80", "%ED%A0%80"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_ids_404(opened: RunningServer, text: str) -> None:
    """No id breaks anything: neither an encoded slash, nor a line end, nor what is not UTF-8."""
    for path in (f"uploads/{text}", f"uploads/{text}/content", f"uploads/{text}/events", f"jobs/{text}"):
        assert await status(opened, path, {}) == 404, path
    assert await status(opened, f"uploads/{text}", {}, "DELETE") == 404
    assert await status(opened, f"endpoints/{text}/open", {}, "POST") in (404, 409)


@pytest.mark.parametrize("parameter", ["name", "owner", "declared_type", "status", "created_from", "limit", "cursor"])
@pytest.mark.parametrize("text", [*HOSTILE, "%", "_", quote("' OR 1=1 --"), "9" * 400, "-1"])
async def test_hostile_queries_are_no_server_error(opened: RunningServer, parameter: str, text: str) -> None:
    """A query is answered or refused with a sentence."""
    answer = await call(opened, "GET", f"uploads?{parameter}={text}")
    assert answer.status in (200, 400), answer
    assert answer.status == 200 or json.loads(answer.body)["detail"]


@pytest.mark.parametrize("path", ["accounts", "keys", "uploads", "sessions", "jobs", "events", "audit", "codes"])
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1&limit=2"])
async def test_page_without_rows_400(listing: RunningServer, path: str, limit: str) -> None:
    """A page of no rows would look like the last one, so every list refuses to make it."""
    answer = await request("GET", f"{listing.root}/api/{path}?limit={limit}", ROOT)
    assert (answer.status, b"limit" in answer.body) == (400, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", each) for each in ("codes", "upload-links", "download-links", "keys", "accounts", "quota", "audit")),
        *(("POST", each) for each in ("codes", "codes/redeem", "upload-links", "download-links", "keys", "accounts")),
        *(("POST", f"auth/{each}") for each in ("login", "refresh", "logout")),
    ],
)
async def test_feature_that_is_off_404(opened: RunningServer, method: str, path: str) -> None:
    """Without access control, its resources say that it is off before they look at the request."""
    headers = {"Content-Type": "application/json"} if method == "POST" else {}
    answer = await request(method, f"{opened.root}/api/{path}", headers, b"{}" if method == "POST" else b"")
    assert (answer.status, b"off" in answer.body) == (404, True)


async def test_huge_and_deep_bodies_4xx(opened: RunningServer) -> None:
    """Bodies beyond the bounds are refused, also when they are announced only."""
    url, fields = f"{opened.root}/api/jobs/drop", {"Content-Type": "application/json"}
    assert (await request("POST", url, fields, b"[" * 60_000)).status == 400
    assert (await request("POST", url, fields, b" " * 70_000)).status == 413
    assert (await request("POST", url, {}, b"{}")).status == 415
    assert (await request("POST", url, fields, b'{"ids": [' + b"9" * 60_000 + b"]}")).status == 400


async def test_document_is_served(opened: RunningServer, tmp_path: Path) -> None:
    """``/openapi.json`` and ``/docs`` are there with the API, and not without ``api.docs``."""
    assert json.loads((await request("GET", f"{opened.root}/openapi.json", {})).body)["openapi"] == "3.1.0"
    assert b"swagger-ui" in (await request("GET", f"{opened.root}/docs", {})).body
    quiet = start_server(tmp_path / "data", settings={"API__ENABLED": "true", "API__DOCS": "false"})
    try:
        found = [await request("GET", f"{quiet.root}/{path}", {}) for path in ("openapi.json", "docs", "docs/start.js")]
        assert [each.status for each in found] == [404, 404, 404]
    finally:
        await asyncio.to_thread(quiet.stop)


async def test_lists_while_uploads_change(opened: RunningServer) -> None:
    """A list that is read while uploads advance shows each that was there all the time once."""
    ids = {await upload(opened, {}, f"moving{number}") for number in range(6)}
    created = await request("POST", opened.url, {**TUS, "Upload-Length": "4"}, b"")
    url = urljoin(opened.url, created.headers["location"])
    seen: list[str] = []
    cursor = ""
    while True:
        page = await get(opened, f"uploads?limit=2{cursor}")
        seen += [each["id"] for each in page["uploads"]]
        await request("PATCH", url, patch_headers(0), b"ab")
        await upload(opened, {}, "later")
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert (len(seen), ids - set(seen)) == (len(set(seen)), set())
