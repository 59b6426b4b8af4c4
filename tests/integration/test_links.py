"""Upload links and download links on the wire: what their bearer can do, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.support.client import BODY, TUS, Connection, patch_headers, request
from tests.support.grants import ADMIN, ALICE, BOB, becomes, call, made, start
from tests.support.server import RunningServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start(
        tmp_path_factory.mktemp("links") / "data",
        QUOTAS__ENABLED="true",
        QUOTAS__BYTES_PER_DAY="100000000",
        UPLOADS__SAVE_INTERVAL_SECONDS="0.2",
    )
    yield running
    running.stop()


async def used(server: RunningServer) -> int:
    """What alice has used of her day."""
    return int(json.loads((await call(server, "GET", "quota")).body)["quotas"][0]["used"])


async def test_a_link_fills_exactly_one_upload(server: RunningServer) -> None:
    """Its URL takes HEAD, POST and PATCH without credentials; nothing else, and no other upload."""
    before = await used(server)
    link = await made(server, "upload-links", length_max=1000)
    assert await used(server) == before + 1000
    url = link["url"]
    head = await request("HEAD", url, TUS)
    assert (head.status, head.offset, head.headers["upload-defer-length"]) == (200, 0, "1")
    assert (await request("POST", url, {**TUS, "Upload-Length": "1001"})).status == 413
    created = await request("POST", url, {**TUS, "Upload-Length": "10", "Upload-Metadata": "filename YS50eHQ="})
    assert (created.status, urljoin(server.url, created.headers["location"])) == (201, url)
    assert await used(server) == before + 10
    assert (await request("POST", url, {**TUS, "Upload-Length": "10"})).status == 201
    assert (await request("POST", url, {**TUS, "Upload-Length": "11"})).status == 403
    assert (await request("PATCH", url, patch_headers(0), b"x" * 10)).status == 204
    assert (await request("HEAD", url, TUS)).offset == 10
    again = await request("POST", url, {**TUS, "Upload-Length": "10"})
    assert (again.status, b"ERR_LINK_FILLED" in again.body) == (403, True)
    assert [(await request(verb, url, TUS)).status for verb in ("GET", "DELETE")] == [403, 403]
    shown = json.loads((await call(server, "GET", f"uploads/{link['upload_id']}")).body)
    assert (shown["owner"], shown["grant"], shown["metadata"]) == ("alice", f"link:{link['id']}", {"filename": "a.txt"})


async def test_a_known_length_works_with_head_and_patch_alone(server: RunningServer) -> None:
    """With the length given at making, the URL is that of an ordinary upload, also for clients without POST."""
    link = await made(server, "upload-links", length=5, metadata={"filename": "b.txt"}, may_download=True)
    head = await request("HEAD", link["url"], TUS)
    assert (head.offset, head.headers["upload-length"]) == (0, "5")
    assert (await request("PATCH", link["url"], patch_headers(0), b"hello")).status == 204
    got = await request("GET", link["url"], {})
    assert (got.status, got.body) == (200, b"hello")


async def test_length_within_its_bound_400(server: RunningServer) -> None:
    """A length that is known may have a bound beside it, which has to be one."""
    for terms, status in (
        ({"length": 5, "length_max": 5}, 201),
        ({"length": 6, "length_max": 5}, 400),
        ({"length": 0, "length_max": 0}, 400),
        ({"length": 5, "length_max": "9"}, 400),
    ):
        assert (await call(server, "POST", "upload-links", terms)).status == status, terms


async def test_creation_with_upload_by_a_link(server: RunningServer) -> None:
    """POST with bytes stores them; an empty file is complete at once."""
    link = await made(server, "upload-links", length_max=100)
    answer = await request("POST", link["url"], {**TUS, **BODY, "Upload-Length": "6"}, b"abc")
    assert (answer.status, answer.offset) == (201, 3)
    assert (await request("PATCH", link["url"], patch_headers(3), b"def")).offset == 6
    empty = await made(server, "upload-links", length_max=100)
    assert (await request("POST", empty["url"], {**TUS, "Upload-Length": "0"})).status == 201
    shown = json.loads((await call(server, "GET", f"uploads/{empty['upload_id']}")).body)
    assert shown["completed_at"]


async def test_links_of_others_and_forged_ones_open_nothing(server: RunningServer) -> None:
    """The signature of one link does not open another upload; a changed one is 401; without it the upload is hidden."""
    link, other = [await made(server, "upload-links", length=5) for _ in range(2)]
    signature = link["url"].partition("?")[2]
    base = other["url"].partition("?")[0]
    assert (await request("HEAD", f"{base}?{signature}", TUS)).status == 404
    assert (await request("PATCH", f"{base}?{signature}", patch_headers(0), b"x")).status == 404
    assert (await request("POST", server.url + "?" + signature, {**TUS, "Upload-Length": "5"})).status == 403
    for forged in (link["url"][:-1] + ("A" if link["url"][-1] != "A" else "B"), f"{base}?link=x", f"{base}?link="):
        assert (await request("HEAD", forged, TUS)).status == 401
    assert (await request("HEAD", base, TUS)).status == 401
    assert (await request("HEAD", base, {**TUS, **BOB})).status == 404
    for path in ("quota", "upload-links", f"uploads/{link['upload_id']}", "codes"):
        assert (await call(server, "GET", f"{path}?{signature}", headers={})).status in (400, 401, 403), path


async def test_types_and_origins_of_a_link(server: RunningServer) -> None:
    """The declared type must be one of the link's; pages of other origins are refused, other clients are not."""
    link = await made(server, "upload-links", length_max=9, types=["image/*"], origins=["https://a.example"])
    png, text = "filetype aW1hZ2UvcG5n", "filetype dGV4dC9wbGFpbg=="
    assert (await request("PATCH", link["url"], patch_headers(0), b"x")).status == 415
    head = {**TUS, "Upload-Length": "3"}
    assert (await request("POST", link["url"], {**head, "Upload-Metadata": text})).status == 415
    evil = await request("HEAD", link["url"], {**TUS, "Origin": "https://evil.example"})
    assert evil.status == 403
    assert (await request("HEAD", link["url"], {**TUS, "Origin": "https://a.example"})).status == 200
    assert (await request("POST", link["url"], {**head, "Upload-Metadata": png})).status == 201
    assert (await request("PATCH", link["url"], patch_headers(0), b"abc")).status == 204


async def test_revoking_stops_a_running_patch_and_releases_the_quota(server: RunningServer) -> None:
    """The PATCH is answered 403 at once, later requests too, and nothing that was not sent stays reserved."""
    before = await used(server)
    link = await made(server, "upload-links", length=1000)
    patch = await Connection.open(link["url"])
    await patch.send_head("PATCH", link["url"], {**patch_headers(0), "Content-Length": "1000"})
    await patch.send(b"x" * 100)
    await becomes(lambda: _offset_is(server, link["upload_id"], 100))
    assert (await call(server, "DELETE", f"upload-links/{link['id']}")).status == 204
    answer = await asyncio.wait_for(patch.answer(), 5)
    assert (answer.status, b"was revoked" in answer.body) == (403, True)
    patch.close()
    for verb in ("HEAD", "POST"):
        assert (await request(verb, link["url"], {**TUS, "Upload-Length": "1000"})).status == 403
    assert (await call(server, "DELETE", f"upload-links/{link['id']}")).status == 204
    assert await used(server) == before + 100


async def _offset_is(server: RunningServer, upload_id: str, offset: int) -> bool:
    shown = json.loads((await call(server, "GET", f"uploads/{upload_id}")).body)
    return bool(shown["offset"] == offset)


async def test_lists_show_own_links_and_no_signature(server: RunningServer) -> None:
    """Links are listed in pages, those of others only to an admin; no answer but the first has the URL."""
    link = await made(server, "upload-links", BOB, length=1)
    mine = json.loads((await call(server, "GET", "upload-links?limit=1", headers=BOB)).body)
    assert (mine["links"][0]["id"], "url" in mine["links"][0], mine["next"]) == (link["id"], False, None)
    assert (await call(server, "GET", f"upload-links/{link['id']}")).status == 404
    assert (await call(server, "DELETE", f"upload-links/{link['id']}")).status == 404
    assert (await call(server, "GET", f"upload-links/{link['id']}", headers=ADMIN)).status == 200
    everyone = json.loads((await call(server, "GET", "upload-links?limit=1", headers=ADMIN)).body)
    assert everyone["next"]
    following = await call(server, "GET", f"upload-links?cursor={everyone['next']}", headers=ADMIN)
    assert link["id"] not in {each["id"] for each in json.loads(following.body)["links"]}


async def test_bad_terms_400(server: RunningServer) -> None:
    """Terms of a wrong type or out of bounds are refused with a sentence; other owners only an admin may name."""
    for terms in (
        {},
        {"length": -1},
        {"length": 1, "expires_in": 0},
        {"length": 1, "expires_in": 10**9},
        {"length": 1, "types": ["image"]},
        {"length": 1, "origins": ["example.com"]},
        {"length": 1, "metadata": {"a b": "c"}},
        {"length": 1, "maximum": 2},
    ):
        answer = await call(server, "POST", "upload-links", terms)
        assert answer.status == 400, (terms, answer)
    assert (await call(server, "POST", "upload-links", {"length": 1, "owner": "bob"})).status == 403
    made_for = await made(server, "upload-links", ADMIN, length=1, owner="bob")
    assert made_for["owner"] == "bob"
    assert (await call(server, "POST", "upload-links", {"length": 10**9})).status == 413
    assert (await call(server, "POST", "upload-links", {"length": 1}, {})).status == 401


async def test_download_links(server: RunningServer) -> None:
    """Anyone with the URL can read the bytes, in ranges too, until it is revoked; nobody can write by it."""
    source = await made(server, "upload-links", length=10)
    await request("PATCH", source["url"], patch_headers(0), b"0123456789")
    link = await made(server, "download-links", upload_id=source["upload_id"])
    assert (await request("GET", link["url"], {})).body == b"0123456789"
    assert (await request("GET", link["url"], {"Range": "bytes=2-3"})).body == b"23"
    assert (await request("HEAD", link["url"], {})).status == 200
    assert (await request("PATCH", link["url"], patch_headers(10), b"x")).status == 403
    assert (await request("DELETE", link["url"], TUS)).status == 403
    assert (await call(server, "POST", "download-links", {"upload_id": source["upload_id"]}, BOB)).status == 404
    assert (await call(server, "DELETE", f"download-links/{link['id']}")).status == 204
    assert (await request("GET", link["url"], {})).status == 403


async def test_a_single_download(server: RunningServer) -> None:
    """Parts do not use the link up, the last byte does; one that broke off can be taken up; two at once are refused."""
    # More than the kernel keeps for a client that does not read.
    content = b"x" * 32_000_000
    source = await made(server, "upload-links", length=len(content))
    await request("PATCH", source["url"], patch_headers(0), content)
    link = await made(server, "download-links", upload_id=source["upload_id"], single_use=True)
    assert (await request("GET", link["url"], {"Range": "bytes=0-9"})).status == 206
    slow = await Connection.open(link["url"])
    await slow.send_head("GET", link["url"], {})
    await becomes(lambda: _is_in_use(link["url"]))
    slow.close()
    await becomes(lambda: _is_free(link["url"]))
    assert (await request("GET", link["url"], {"Range": "bytes=10-"})).status == 206
    used_up = await request("GET", link["url"], {"Range": "bytes=0-0"})
    assert (used_up.status, b"single use" in used_up.body) == (403, True)
    shown = json.loads((await call(server, "GET", f"download-links/{link['id']}")).body)
    assert shown["state"] == "used"


async def test_ranges_of_a_single_use_get_the_content_twice_at_most_403(server: RunningServer) -> None:
    """All but the last byte was sent a third time: a request that would exceed twice the content is refused."""
    source = await made(server, "upload-links", length=1000)
    await request("PATCH", source["url"], patch_headers(0), b"x" * 1000)
    link = await made(server, "download-links", upload_id=source["upload_id"], single_use=True)
    asked = [*["bytes=0-997"] * 4, "bytes=998-", "bytes=0-0"]
    assert [await _settled(link["url"], each) for each in asked] == [206, 206, 403, 403, 206, 403]


async def _settled(url: str, span: str) -> int:
    """The status for these bytes, once the use by the request before has ended."""
    status = 409

    async def is_settled() -> bool:
        nonlocal status
        status = (await request("GET", url, {"Range": span})).status
        return status != 409

    await becomes(is_settled)
    return status


async def _is_in_use(url: str) -> bool:
    return (await request("GET", url, {"Range": "bytes=0-0"})).status == 409


async def _is_free(url: str) -> bool:
    return (await request("GET", url, {"Range": "bytes=0-0"})).status == 206


async def test_signatures_are_in_no_log(server: RunningServer) -> None:
    """Neither the log nor the JSON of an upload has the signature of a link."""
    link = await made(server, "upload-links", length=3)
    await request("PATCH", link["url"], patch_headers(0), b"abc")
    signature = link["url"].rpartition(".")[2]
    assert signature not in server.log.read_text()
    for path in (f"uploads/{link['upload_id']}", "upload-links", "events"):
        assert signature.encode() not in (await call(server, "GET", path, headers=ADMIN)).body
    assert ALICE["Authorization"] not in server.log.read_text()
