"""Quotas on the wire: what is refused, what a client is told, and what the worker settles."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio

SETTINGS = {
    "QUOTAS__ENABLED": "true",
    "QUOTAS__BYTES_PER_DAY": "100",
    "JWT__SECRET": SECRET,
    "JWT__BYTES_PER_DAY_CLAIM": "bytes",
    "API__ENABLED": "true",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", settings=SETTINGS)
    yield running
    running.stop()


async def post(server: RunningServer, headers: Mapping[str, str]) -> Answer:
    return await request("POST", server.url, {**TUS, **headers}, b"")


async def test_bytes_per_day_413(server: RunningServer) -> None:
    """A creation that does not fit is refused with the quota, its limit, its use and its reset; others go on."""
    alice = bearer("alice")
    assert (await post(server, {**alice, "Upload-Length": "60"})).status == 201
    refused = await post(server, {**alice, "Upload-Length": "41"})
    assert refused.status == 413
    sentence = rb"ERR_QUOTA_EXCEEDED: the quota bytes_per_day is 100 bytes, of which 60 are used; it is reset at "
    assert re.fullmatch(sentence + rb"\d{4}-\d\d-\d\dT00:00:00Z\n", refused.body)
    assert (await post(server, {**alice, "Upload-Length": "40"})).status == 201
    assert (await post(server, {**bearer("bob"), "Upload-Length": "100"})).status == 201
    assert (await post(server, {**bearer("carol", bytes=1000), "Upload-Length": "1000"})).status == 201
    assert (await post(server, {"Upload-Length": "100"})).status == 201
    assert (await post(server, {"Upload-Length": "1"})).status == 413
    draft = {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?0", "Upload-Length": "1", **alice}
    assert (await request("POST", server.url, draft, b"")).status == 413


async def test_deferred_length_grows_413(server: RunningServer) -> None:
    """A deferred length is charged by its bytes, then by the declared length; what does not fit is refused."""
    alice = bearer("alice")
    created = await post(server, {**alice, "Upload-Defer-Length": "1"})
    url = urljoin(server.url, created.headers["location"])
    assert (await request("PATCH", url, {**patch_headers(0), **alice}, b"x" * 30)).offset == 30
    assert (await post(server, {**alice, "Upload-Length": "71"})).status == 413
    refused = await request("PATCH", url, {**patch_headers(30), **alice}, b"x" * 71)
    assert refused.status == 413, refused
    assert b"ERR_QUOTA_EXCEEDED" in refused.body
    declared = {**patch_headers(30), **alice, "Upload-Length": "101"}
    assert (await request("PATCH", url, declared, b"")).status == 413
    assert (await request("HEAD", url, {**TUS, **alice})).offset == 30
    declared["Upload-Length"] = "100"
    assert (await request("PATCH", url, declared, b"x" * 70)).offset == 100


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, 413), ({"Upload-Checksum": f"sha1 {b64encode(bytes(20)).decode()}"}, 460)],
    ids=["beyond the quota", "wrong checksum"],
)
async def test_refused_bytes_do_not_stay_on_the_disk(
    server: RunningServer, headers: dict[str, str], expected: int
) -> None:
    """A body whose bytes are not recorded occupies no space once it is refused, or quotas would limit no disk."""
    # One with a checksum that cannot fit is refused before it is read.
    alice = bearer("alice", bytes=10**7) if expected == 460 else bearer("alice")
    created = await post(server, {**alice, "Upload-Defer-Length": "1"})
    url = urljoin(server.url, created.headers["location"])
    assert (await request("PATCH", url, {**patch_headers(0), **alice}, b"x" * 30)).offset == 30
    refused = await request("PATCH", url, {**patch_headers(30), **alice, **headers}, b"y" * 3_000_000)
    assert refused.status == expected, refused
    assert server.stored(url) == b"x" * 30
    assert (await request("PATCH", url, {**patch_headers(30), **alice}, b"z" * 10)).offset == 40
    assert server.stored(url) == b"x" * 30 + b"z" * 10


async def test_parallel_upload_counts_once(server: RunningServer) -> None:
    """A final upload takes over what its parts are charged; naming a part twice is charged."""
    alice = bearer("alice")
    urls = []
    for _ in range(2):
        content = {"Upload-Concat": "partial", "Upload-Length": "40", "Content-Type": "application/offset+octet-stream"}
        created = await request("POST", server.url, {**TUS, **alice, **content}, b"x" * 40)
        urls.append(urljoin(server.url, created.headers["location"]))
    final = await post(server, {**alice, "Upload-Concat": f"final;{urls[0]} {urls[1]}"})
    assert final.status == 201, final
    assert (await post(server, {**alice, "Upload-Concat": f"final;{urls[0]}"})).status == 413
    assert (await post(server, {**alice, "Upload-Length": "20"})).status == 201


async def test_termination_releases_unfilled_bytes(server: RunningServer) -> None:
    """A terminated upload is charged what it had got."""
    alice = bearer("alice")
    url = urljoin(server.url, (await post(server, {**alice, "Upload-Length": "100"})).headers["location"])
    assert (await request("PATCH", url, {**patch_headers(0), **alice}, b"x" * 30)).offset == 30
    assert (await request("DELETE", url, {**TUS, **alice})).status == 204
    assert (await post(server, {**alice, "Upload-Length": "71"})).status == 413
    assert (await post(server, {**alice, "Upload-Length": "70"})).status == 201


async def test_api_shows_and_the_worker_settles(server: RunningServer) -> None:
    """``/api/quota`` has limit, use, reservation and reset; the worker turns reservations into use."""
    alice = bearer("alice")
    content = {"Upload-Length": "40", "Content-Type": "application/offset+octet-stream"}
    assert (await request("POST", server.url, {**TUS, **alice, **content}, b"x" * 40)).status == 201
    for _ in range(300):
        shown = json.loads((await request("GET", f"{server.root}/api/quota", alice)).body)
        if shown["quotas"][0]["reserved"] == 0:
            break
        await asyncio.sleep(0.1)
    day, month = shown["quotas"]
    assert (shown["subject"], day["quota"], month["quota"]) == ("user:alice", "bytes_per_day", "bytes_per_month")
    assert (day["limit"], day["used"], day["reserved"], month["used"]) == (100, 40, 0, 40)
    assert day["resets_at"].endswith("T00:00:00.000Z")
    anonymous = json.loads((await request("GET", f"{server.root}/api/quota", {})).body)
    assert (anonymous["subject"], anonymous["quotas"][0]["used"]) == ("address:127.0.0.1", 0)


async def test_quotas_of_files_and_of_what_is_stored(tmp_path: Path) -> None:
    """403 for files and unfinished uploads, 413 for stored bytes; a DELETE releases them; the draft gets members."""
    settings = {
        "QUOTAS__ENABLED": "true",
        "QUOTAS__FILES_PER_DAY": "4",
        "QUOTAS__UPLOADS_AT_ONCE": "2",
        "QUOTAS__BYTES_STORED": "100",
        "API__ENABLED": "true",
    }
    server = start_server(tmp_path / "more", settings=settings)
    try:
        first, _ = [(await post(server, {"Upload-Length": "40"})).headers["location"] for _ in range(2)]
        refused = await post(server, {"Upload-Length": "1"})
        assert (refused.status, refused.body.split(b":")[0]) == (403, b"ERR_FILE_QUOTA_EXCEEDED")
        assert b"the quota uploads_at_once is 2 files, of which 2 are used" in refused.body
        assert (await request("PATCH", urljoin(server.url, first), patch_headers(0), b"x" * 40)).status == 204
        assert b"the quota bytes_stored is 100 bytes" in (await post(server, {"Upload-Length": "21"})).body
        assert (await request("DELETE", urljoin(server.url, first), TUS)).status == 204
        assert (await post(server, {"Upload-Length": "60"})).status == 201
        shown = json.loads((await request("GET", f"{server.root}/api/quota", {})).body)
        assert {each["quota"]: (each["used"], each["limit"]) for each in shown["quotas"][2:]} == {
            "files_per_day": (3, 4),
            "bytes_stored": (100, 100),
            "uploads_at_once": (2, 2),
        }
        draft = {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?0", "Upload-Length": "1"}
        problem = json.loads((await request("POST", server.url, draft, b"")).body)
        assert (problem["code"], problem["quota"], problem["limit"], problem["used"], problem["resets-at"]) == (
            "ERR_QUOTA_EXCEEDED",
            "bytes_stored",
            100,
            100,
            None,
        )
    finally:
        server.stop()


async def test_limits_of_others_over_the_api(server: RunningServer) -> None:
    """Administrators see and set the limits of a subject, viewers see them, others get 403; wrong ones are refused."""
    root, vera, alice = bearer("root", roles=["admin"]), bearer("vera", roles=["viewer"]), bearer("alice/x")
    url = f"{server.root}/api/quotas/user:alice%2Fx"
    as_json = {"Content-Type": "application/json"}

    async def put(headers: Mapping[str, str], content: object, method: str = "PUT") -> Answer:
        return await request(method, url, {**headers, **as_json}, json.dumps(content).encode())

    def limits(answer: Answer) -> dict[str, object]:
        return {each["quota"]: each["limit"] for each in json.loads(answer.body)["quotas"] if each["set_for_subject"]}

    assert (await put(root, {"bytes_per_day": 70, "files_per_day": 1})).status == 200
    shown = json.loads((await request("GET", url, vera)).body)
    assert (shown["subject"], [each["limit"] for each in shown["quotas"]]) == ("user:alice/x", [70, 100 * 1000**3, 1])
    assert (await post(server, {**alice, "Upload-Length": "71"})).status == 413
    assert (await post(server, {**alice, "Upload-Length": "70"})).status == 201
    assert (await post(server, {**alice, "Upload-Length": "0"})).status == 403
    for headers, content, status in (
        (vera, {}, 403),
        (alice, {}, 403),
        (root, {"bytes_per_day": -1}, 400),
        (root, {"bytes_a_day": 1}, 400),
        (root, {"bytes_stored": 1}, 409),
        (root, {"bytes_per_day": "none"}, 400),
        (root, [], 400),
    ):
        for method in ("PUT", "PATCH"):
            assert (await put(headers, content, method)).status == status, content
    changed = await put(root, {"bytes_per_day": None, "bytes_per_month": 90}, "PATCH")
    assert limits(changed) == {"bytes_per_day": None, "bytes_per_month": 90, "files_per_day": 1}
    assert limits(await put(root, {"bytes_per_day": "default"}, "PATCH")) == {"bytes_per_month": 90, "files_per_day": 1}
    assert limits(await put(root, {"bytes_per_day": 70, "files_per_day": "default"})) == {"bytes_per_day": 70}
    assert (await request("GET", url, alice)).status == 403
    assert (await request("GET", f"{server.root}/api/quotas/alice", root)).status == 404
    for subject in ("address:999", "address:", "address:1.2.3.4%2F24", "address:host", "user:"):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            wrong = await request(method, f"{server.root}/api/quotas/{subject}", {**root, **as_json}, b"{}")
            assert (wrong.status, json.loads(wrong.body)["code"]) == (400, "ERR_INVALID_REQUEST"), (method, subject)
    for subject in ("address:2001:db8::7", "address:2001:db8::%2F64", "address:2001:0db8::1%2F64"):
        shown = json.loads((await request("GET", f"{server.root}/api/quotas/{subject}", root)).body)
        assert shown["subject"] == "address:2001:db8::/64"
    assert (await request("DELETE", url, vera)).status == 403
    assert (await request("DELETE", url, root)).status == 204
    assert json.loads((await request("GET", url, root)).body)["quotas"][0]["limit"] == 100
