"""Access codes on the wire: redeeming, what their bearer can do, guesses, live messages, and their end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Connection, patch_headers, request
from tests.support.grants import ADMIN, ALICE, BOB, becomes, call, made, redeemed, start
from tests.support.server import RunningServer
from tusd_py.model.codes import ALPHABET, FREE_GUESSES

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    # Tests stand for clients with different addresses by the header of a proxy.
    running = start(
        tmp_path_factory.mktemp("codes") / "data",
        SERVER__TRUSTED_PROXIES="127.0.0.1",
        UPLOADS__SAVE_INTERVAL_SECONDS="0.2",
    )
    yield running
    running.stop()


def at(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def create(server: RunningServer, headers: dict[str, str], length: int) -> str:
    answer = await request("POST", server.url, {**TUS, **headers, "Upload-Length": str(length)})
    assert answer.status == 201, answer
    return urljoin(server.url, answer.headers["location"])


async def test_the_bearer_of_a_code_uploads_for_its_owner(server: RunningServer) -> None:
    """A code may be typed with spaces; uploads belong to its owner and name the code, and are all that it shows."""
    code = await made(server, "codes", seconds=600, files_max=2, bytes_max=100, label="Stand 5")
    assert len(code["code"]) == 7 and set(code["code"].replace("-", "")) <= set(ALPHABET)
    typed = " " + code["code"].lower().replace("-", " ")
    bearer = await redeemed(server, typed)
    url = await create(server, bearer, 3)
    assert (await request("PATCH", url, {**patch_headers(0), **bearer}, b"abc")).status == 204
    shown = json.loads((await call(server, "GET", f"uploads/{url.rpartition('/')[2]}")).body)
    assert (shown["owner"], shown["grant"]) == ("alice", f"code:{code['id']}")
    assert (await request("HEAD", url, {**TUS, **bearer})).offset == 3
    assert (await request("GET", url, bearer)).status == 403
    other = await redeemed(server, (await made(server, "codes"))["code"])
    own = await create(server, ALICE, 3)
    for foreign, headers in ((url, other), (own, bearer)):
        for verb in ("HEAD", "PATCH", "DELETE", "GET"):
            answer = await request(verb, foreign, {**patch_headers(0), **headers}, b"")
            assert answer.status == 404, (verb, answer)
    part = await request("POST", server.url, {**TUS, **ALICE, "Upload-Length": "1", "Upload-Concat": "partial"})
    concat = {"Upload-Concat": f"final;{part.headers['location']}"}
    assert (await request("POST", server.url, {**TUS, **bearer, **concat})).status == 400
    await create(server, bearer, 1)
    refused = await request("POST", server.url, {**TUS, **bearer, "Upload-Length": "1"})
    assert (refused.status, b"ERR_CODE_LIMIT" in refused.body) == (403, True)


async def test_the_api_is_closed_to_bearers_except_for_their_code(server: RunningServer) -> None:
    """The token of a code shows this code; quotas, uploads, links and other codes of its owner stay hidden."""
    code = await made(server, "codes", seconds=600)
    bearer = await redeemed(server, code["code"])
    own = await call(server, "GET", f"codes/{code['id']}", headers=bearer)
    assert (own.status, 590 < json.loads(own.body)["remaining_seconds"] <= 600) == (200, True)
    other = await made(server, "codes")
    assert (await call(server, "GET", f"codes/{other['id']}", headers=bearer)).status == 404
    assert (await call(server, "GET", f"codes/{code['id']}", headers=BOB)).status == 404
    for method, path in (
        ("GET", "codes"),
        ("POST", "codes"),
        ("GET", "quota"),
        ("GET", "upload-links"),
        ("POST", "upload-links"),
        ("POST", f"codes/{code['id']}/terminate"),
        ("GET", "jobs"),
    ):
        content: dict[str, object] | None = {} if method == "POST" else None
        assert (await call(server, method, path, content, bearer)).status == 403, path


async def test_tokens_are_short_and_can_be_renewed(server: RunningServer) -> None:
    """A token is renewed while the code lives; forged ones and those of other purposes are 401."""
    code = await made(server, "codes", seconds=600)
    answer = json.loads((await call(server, "POST", "codes/redeem", {"code": code["code"]}, {})).body)
    renewed = await call(server, "POST", "codes/renew", {"token": answer["token"]}, {})
    assert renewed.status == 200
    bearer = {"Authorization": f"Bearer {json.loads(renewed.body)['token']}"}
    await create(server, bearer, 1)
    link = await made(server, "upload-links", length=1)
    for wrong in (answer["token"][:-2] + "xx", "tusd_code_" + link["url"].partition("link=")[2], "tusd_code_", "x"):
        assert (await call(server, "POST", "codes/renew", {"token": wrong}, {})).status == 401
        head = {**TUS, "Upload-Length": "1", "Authorization": f"Bearer {wrong}"}
        assert (await request("POST", server.url, head)).status == 401


async def test_wrong_guesses_of_an_address_429(server: RunningServer) -> None:
    """After some wrong guesses an address gets 429, also for the right code; another address redeems it at once."""
    code = await made(server, "codes")
    for _ in range(FREE_GUESSES):
        answer = await call(server, "POST", "codes/redeem", {"code": "222222"}, at("192.0.2.1"))
        assert (answer.status, b"ERR_CODE_UNKNOWN" in answer.body) == (404, True)
    answer = await call(server, "POST", "codes/redeem", {"code": code["code"]}, at("192.0.2.1"))
    assert (answer.status, answer.headers["retry-after"]) == (429, "10")
    for wrong in ("", "0", "x" * 500, "A" * 7, "OOOOOO", "\u212a" * 6):
        assert (
            await call(server, "POST", "codes/redeem", {"code": wrong}, at(f"198.51.100.{len(wrong)}"))
        ).status == 404
    assert (await call(server, "POST", "codes/redeem", {"code": code["code"]}, at("192.0.2.9"))).status == 200
    assert (await call(server, "POST", "codes/redeem", {"code": 5}, {})).status == 400


async def test_a_right_code_works_while_a_thousand_addresses_guess(server: RunningServer) -> None:
    """Guesses come from a thousand addresses, several each; meanwhile fresh addresses redeem their codes at once."""
    code = await made(server, "codes")
    refused = guessed = 0

    async def guess(number: int) -> None:
        nonlocal refused, guessed
        for _ in range(3):
            address = f"203.0.{113 + number % 10}.{number // 10}"
            answer = await call(server, "POST", "codes/redeem", {"code": "333333"}, at(address))
            refused += answer.status == 429
            guessed += answer.status == 404

    async def redeem(number: int) -> float:
        await asyncio.sleep(0.2 * number)
        started = time.monotonic()
        answer = await call(server, "POST", "codes/redeem", {"code": code["code"]}, at(f"192.0.2.{100 + number}"))
        assert answer.status == 200, answer
        return time.monotonic() - started

    slots = asyncio.Semaphore(16)

    async def bounded(number: int) -> None:
        async with slots:
            await guess(number)

    *_, seconds = await asyncio.gather(
        *(bounded(number) for number in range(1000)), asyncio.gather(*(redeem(number) for number in range(10)))
    )
    assert isinstance(seconds, list) and max(seconds) < 5
    # Each address got one guess, and those before the pressure began at most three.
    assert guessed + refused == 3000 and guessed < 1000 + 2 * 70


async def test_time_is_added_and_ends(server: RunningServer) -> None:
    """The owner adds time while the code lives, up to the longest life; after its end nothing brings it back."""
    code = await made(server, "codes", seconds=60)
    longer = await call(server, "POST", f"codes/{code['id']}/add-time", {"seconds": 60})
    assert 110 < json.loads(longer.body)["remaining_seconds"] <= 120
    capped = await call(server, "POST", f"codes/{code['id']}/add-time", {"seconds": 86400})
    assert 86300 < json.loads(capped.body)["remaining_seconds"] <= 86400
    assert (await call(server, "POST", f"codes/{code['id']}/add-time", {"seconds": 1}, BOB)).status == 404
    assert (await call(server, "POST", f"codes/{code['id']}/terminate", {})).status == 200
    assert (await call(server, "POST", f"codes/{code['id']}/terminate", {})).status == 200
    assert (await call(server, "POST", f"codes/{code['id']}/add-time", {"seconds": 1})).status == 409
    assert (await call(server, "POST", "codes/redeem", {"code": code["code"]}, at("192.0.2.77"))).status == 404


async def test_the_expiry_of_a_code(server: RunningServer) -> None:
    """A PATCH that runs at the expiry goes on to its end; the next request is refused."""
    code = await made(server, "codes", seconds=2)
    bearer = await redeemed(server, code["code"])
    url = await create(server, bearer, 100)
    patch = await Connection.open(url)
    await patch.send_head("PATCH", url, {**patch_headers(0), **bearer, "Content-Length": "50"})
    await patch.send(b"x" * 10)

    async def has_expired() -> bool:
        shown = json.loads((await call(server, "GET", f"codes/{code['id']}")).body)
        return bool(shown["state"] == "expired")

    await becomes(has_expired)
    await patch.send(b"x" * 40)
    answer = await patch.answer()
    assert (answer.status, answer.offset) == (204, 50)
    patch.close()
    for verb in ("PATCH", "HEAD"):
        assert (await request(verb, url, {**patch_headers(50), **bearer})).status == 403
    assert (await request("HEAD", url, {**TUS, **ALICE})).offset == 50, "its owner goes on with it"
    assert (await request("PATCH", url, {**patch_headers(50), **ALICE}, b"x" * 50)).offset == 100


async def test_terminating_by_another_server_stops_a_running_patch(server: RunningServer) -> None:
    """Within a second, with every byte that was received kept, and the owner can go on; the bearer cannot."""
    other = start(server.data_dir, UPLOADS__SAVE_INTERVAL_SECONDS="0.2")
    try:
        code = await made(server, "codes", seconds=600)
        bearer = await redeemed(server, code["code"])
        # Of a short rest of a body the server reads for a second before it answers, to keep the connection.
        url = await create(server, bearer, 1_000_000)
        patch = await Connection.open(url)
        await patch.send_head("PATCH", url, {**patch_headers(0), **bearer, "Content-Length": "1000000"})
        await patch.send(b"x" * 100)

        async def has_arrived() -> bool:
            shown = json.loads((await call(server, "GET", f"uploads/{url.rpartition('/')[2]}")).body)
            return bool(shown["offset"] == 100)

        await becomes(has_arrived)
        started = time.monotonic()
        ended = asyncio.ensure_future(patch.answer())
        assert (await call(other, "POST", f"codes/{code['id']}/terminate", {})).status == 200
        answer = await ended
        seconds = time.monotonic() - started
        patch.close()
        assert (answer.status, b"ERR_CODE_ENDED" in answer.body) == (403, True)
        assert seconds < 1.0, seconds
        assert (await request("PATCH", url, {**patch_headers(100), **bearer}, b"x")).status == 403
        assert (await request("POST", server.url, {**TUS, **bearer, "Upload-Length": "1"})).status == 403
        assert (await request("HEAD", url, {**TUS, **ALICE})).offset == 100
    finally:
        other.stop()


async def test_live_messages(server: RunningServer) -> None:
    """The stream begins with the state, announces the last ten seconds and the end, and then ends itself."""
    code = await made(server, "codes", seconds=600)
    path = f"{server.root}/api/codes/{code['id']}/events"
    assert (await request("GET", path, BOB)).status == 404
    # HEAD of a stream is not one: the connection is free for the next request at once.
    head = await Connection.open(path)
    for _ in range(2):
        await head.send_head("HEAD", path, ALICE)
        assert (await asyncio.wait_for(head.answer(), 5)).status == 200
    head.close()
    short = await made(server, "codes", seconds=3)
    stream = await asyncio.wait_for(request("GET", f"{server.root}/api/codes/{short['id']}/events", ALICE), 20)
    assert stream.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix(b"event: ") for line in stream.body.splitlines() if line.startswith(b"event: ")]
    assert (names[0], names[1], names[-1]) == (b"state", b"expiring", b"ended")
    watched = asyncio.ensure_future(request("GET", path, ALICE))
    await asyncio.sleep(0)
    assert (await call(server, "POST", f"codes/{code['id']}/terminate", {}, ADMIN)).status == 200
    assert b"event: ended" in (await asyncio.wait_for(watched, 20)).body


async def test_codes_and_tokens_are_in_no_log(server: RunningServer) -> None:
    """Neither the code nor its token is in the log, in the API's answers, or in the database as it is."""
    code = await made(server, "codes")
    bearer = await redeemed(server, code["code"])
    await create(server, bearer, 1)
    secret, text = bearer["Authorization"].rpartition(".")[2], code["code"].replace("-", "")
    found = [server.log.read_bytes(), (await call(server, "GET", "codes", headers=ADMIN)).body]
    found += [path.read_bytes() for path in server.data_dir.glob("*.sqlite3*")]
    assert len(found) > 2
    for content in found:
        assert secret.encode() not in content and text.encode() not in content and code["code"].encode() not in content
