"""The IETF draft Resumable Uploads for HTTP, rule by rule, for each version, directly and through nginx.

nginx has the configuration of docs/proxies.md. The server sends no 104 where a header shows a proxy, because nginx
takes one for the final response; so the rules about 104 alone are skipped there, and the others are tested without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.support.client import Connection
from tests.support.content import MIB, content
from tests.support.draft import ALL_VERSIONS, PROBLEMS, VERSIONS, Draft, Responses, receive_responses
from tests.support.proxies import running_proxy
from tests.support.server import RunningServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(60)

SETTINGS = {
    "UPLOADS__LENGTH_MAX": "8MiB",
    "EXPIRATION__UNFINISHED_SECONDS": "3600",
    # Progress of a slow body is saved as often as that of a fast one.
    "UPLOADS__SAVE_SMALL_BYTES": "0",
    # docs/proxies.md requires it with the configuration of nginx. Direct requests have no header of a proxy.
    "SERVER__TRUSTED_PROXIES": "127.0.0.1",
}
CHUNKED = {"Transfer-Encoding": "chunked"}
#: The routes and versions that ``make test`` runs.
QUICK = (*(("direct", version) for version in VERSIONS), ("nginx", 8))


@dataclass(frozen=True)
class Client(Draft):
    """A client of one version of the draft, directly or through nginx."""

    is_behind_proxy: bool = False

    def skip_behind_proxy(self) -> None:
        """Skip a test of nothing but interim responses."""
        if self.is_behind_proxy:
            pytest.skip("the server sends no 104 behind a proxy: nginx takes one for the final response")


@pytest.fixture(scope="module")
def nginx(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint behind nginx with the configuration of docs/proxies.md."""
    with running_proxy("nginx", server.port, tmp_path_factory.mktemp("nginx")) as proxy:
        yield proxy.endpoint


def endpoint_of(route: str, request: pytest.FixtureRequest) -> str:
    """The endpoint by this route. nginx is started for the tests that need it only."""
    if route == "nginx":
        return str(request.getfixturevalue("nginx"))
    running: RunningServer = request.getfixturevalue("server")
    return running.url


@pytest.fixture(params=["direct", "nginx"])
def endpoint(request: pytest.FixtureRequest) -> str:
    return endpoint_of(request.param, request)


@pytest.fixture(
    params=[
        pytest.param((route, version), marks=() if (route, version) in QUICK else pytest.mark.long)
        for route in ("direct", "nginx")
        for version in ALL_VERSIONS
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def draft(request: pytest.FixtureRequest) -> Client:
    route, version = request.param
    return Client(endpoint_of(route, request), version, is_behind_proxy=route == "nginx")


@asynccontextmanager
async def opened(method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
    """A connection on which the head of a request was sent; the test sends the body."""
    connection = await Connection.open(url)
    try:
        await connection.send_head(method, url, headers)
        yield connection
    finally:
        connection.close()


async def chunked(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Responses:
    """Send a chunked body and return the responses."""
    async with opened(method, url, {**headers, **CHUNKED}) as connection:
        return await receive_responses(connection, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


def limit(answer: Mapping[str, str]) -> dict[str, int]:
    """``Upload-Limit`` as a dictionary."""
    return {key: int(value) for key, _, value in (part.partition("=") for part in answer["upload-limit"].split(", "))}


async def offset(draft: Draft, url: str) -> tuple[str, str]:
    """``Upload-Offset`` and ``Upload-Complete`` by HEAD."""
    answer = await draft.head(url)
    assert answer.status == 204, answer
    return answer.headers["upload-offset"], answer.completeness


async def received(server: RunningServer, url: str, data: bytes) -> None:
    """Wait until the server has these bytes of the upload: they may still be in nginx."""

    def is_stored() -> bool:
        try:
            return server.stored(url) == data
        except FileNotFoundError:
            return False  # the file is made for the first bytes

    await eventually(is_stored, "the server has received what was sent")


@pytest.mark.parametrize("named", [{}, {"Upload-Draft-Interop-Version": "2"}, {"Upload-Draft-Interop-Version": "99"}])
@pytest.mark.anyio
async def test_r1_no_interim_response_without_a_version(
    endpoint: str, server: RunningServer, named: dict[str, str]
) -> None:
    """R1: without a supported version, a whole upload in one request is accepted and no 104 is sent."""
    draft = Draft(endpoint)
    answer = await draft.ask("POST", endpoint, {**named, "Upload-Complete": "?1"}, b"whole")
    assert (answer.status, answer.interims) == (201, [])
    assert "upload-draft-interop-version" not in answer.headers
    assert server.stored(draft.url(answer)) == b"whole"
    part = await draft.ask("POST", endpoint, {**named, "Upload-Complete": "?0"}, b"part")
    assert (part.status, part.interims) == (412, [])


@pytest.mark.anyio
async def test_r1_interim_responses_have_the_version_104(draft: Client) -> None:
    """R1: each 104 has the interop version of the client."""
    draft.skip_behind_proxy()
    answer = await draft.create(b"some")
    assert answer.interims
    for interim in answer.interims:
        assert (interim.status, interim.headers["upload-draft-interop-version"]) == (104, str(draft.version))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.anyio
async def test_r2_post_put_and_patch_create_201(draft: Client, server: RunningServer, method: str) -> None:
    """R2: with ?0 the creation is 201 with Location and limits and stays open; with ?1 it is complete."""
    part = await draft.ask(method, draft.endpoint, draft.creation(10, completes=False), b"first")
    assert (part.status, part.completeness) == (201, "?0")
    if draft.version > 5:  # Upload-Limit exists since version 6
        assert limit(part.headers)["max-size"] == 8 * MIB
    assert await offset(draft, draft.url(part)) == ("5", "?0")
    whole = await draft.ask(method, draft.endpoint, draft.creation(None, completes=True), b"whole")
    assert (whole.status, whole.completeness) == (201, "?1")
    assert server.stored(draft.url(whole)) == b"whole"
    assert await offset(draft, draft.url(whole)) == ("5", "?1")


@pytest.mark.parametrize("value", ["1", "true", "?2", "?1, ?0", ""])
@pytest.mark.anyio
async def test_r2_malformed_upload_complete_400(draft: Client, value: str) -> None:
    """R2: a value that is no Boolean is ignored, and without Upload-Complete nothing is created."""
    answer = await draft.ask("POST", draft.endpoint, {**draft.named, draft.completeness_name: value}, b"x")
    assert (answer.status, answer.announced) == (400, [])
    assert draft.completeness_name in answer.problem["detail"]


@pytest.mark.anyio
async def test_r3_first_104_has_location_before_the_body(draft: Client) -> None:
    """R3: the first 104 has Location and limits before the body is sent; later ones have only the offset."""
    draft.skip_behind_proxy()
    async with opened("POST", draft.endpoint, draft.creation(6, completes=True, content_length="6")) as connection:
        first = await connection.answer(interim=True)
        assert first.status == 104
        assert {"location", *(["upload-limit"] if draft.version > 5 else [])} <= first.headers.keys()
        assert "upload-offset" not in first.headers
        answer = await receive_responses(connection, b"abcdef")
    assert answer.announced == []
    assert answer.progress == ([6] if draft.version > 4 else [])
    assert answer.headers["location"] == first.headers["location"]


@pytest.mark.anyio
async def test_r3_append_sends_progress_without_location(draft: Client) -> None:
    """R3: a 104 during an append has the saved offset and no Location; up to version 4 it has no offset."""
    draft.skip_behind_proxy()
    if draft.version < 5:
        pytest.skip("progress in 104 exists since version 5")
    url = await draft.made(6)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="6")) as connection:
        await connection.send(b"abc")
        progress = await asyncio.wait_for(connection.answer(interim=True), 10)
        answer = await receive_responses(connection, b"def")
    assert (progress.status, progress.headers["upload-offset"]) == (104, "3")
    assert "location" not in progress.headers
    assert (answer.announced, answer.completeness) == ([], "?1")


@pytest.mark.anyio
async def test_r4_location_is_the_same_in_all_responses(draft: Client) -> None:
    """R4: all responses to a request have the same Location, and it is the URL of the upload."""
    for completes in (False, True):
        answer = await draft.create(b"abc", completes=completes)
        assert answer.announced == ([] if draft.is_behind_proxy else [answer.headers["location"]])
        assert (await offset(draft, draft.url(answer)))[0] == "3"


@pytest.mark.anyio
async def test_r5_every_response_has_upload_complete(draft: Client) -> None:
    """R5: every response to a creation or an append, refusals included, has Upload-Complete."""
    url = await draft.made(4)
    answers = [
        await draft.create(b"abc", completes=False),
        await draft.create(b"abc", 4),  # two lengths
        await draft.append(url, 1, b"abc"),  # the wrong offset
        await draft.append(url, 0, b"ab", completes=False),
        await draft.append(draft.endpoint + "none", 0, b"ab"),
    ]
    assert [answer.completeness for answer in answers] == ["?0"] * 5
    assert (await draft.append(url, 2, b"cd")).completeness == "?1"


@pytest.mark.anyio
async def test_r6_inconsistent_lengths_400(draft: Client) -> None:
    """R6: lengths that differ, within one request or between requests, are refused and change nothing."""
    assert_inconsistent(await draft.create(b"abc", 4))
    url = await draft.made(4)
    assert_inconsistent(await draft.append(url, 0, b"abc"))
    assert_inconsistent(await draft.append(url, 0, b"a", completes=False, upload_length="5"))
    assert await offset(draft, url) == ("0", "?0")
    assert (await draft.append(url, 0, b"abcd", upload_length="4")).status == 201


@pytest.mark.anyio
async def test_r6_last_body_too_short_is_kept_400(draft: Client, server: RunningServer) -> None:
    """R6: a last chunked body that ends before the length is refused; its bytes are kept."""
    url = await draft.made(4)
    async with opened("PATCH", url, {**draft.patch(0, completes=True), **CHUNKED}) as connection:
        await connection.send(b"3\r\nabc\r\n")
        # nginx passes on a body that it already has completely with Content-Length: that is refused before it is read.
        await received(server, url, b"abc")
        assert_inconsistent(await receive_responses(connection, b"0\r\n\r\n"))
    assert await offset(draft, url) == ("3", "?0")
    assert (await draft.append(url, 3, b"d")).completeness == "?1"


@pytest.mark.anyio
async def test_r6_length_is_set_by_the_last_body(draft: Client) -> None:
    """R6: if no length was sent, the end of the last body sets it."""
    url = await draft.made(None)
    assert "upload-length" not in (await draft.head(url)).headers
    assert (await draft.append(url, 0, b"abc", completes=False)).status in (201, 204)
    assert (await chunked("PATCH", url, draft.patch(3, completes=True), b"de")).status == 201
    assert (await draft.head(url)).headers["upload-length"] == "5"


def assert_inconsistent(answer: Responses) -> None:
    assert (answer.status, answer.completeness) == (400, "?0"), answer
    assert answer.problem["type"] == PROBLEMS + "inconsistent-upload-length"


@pytest.mark.parametrize("number", ["-1", "1000000000000000", "1.5", "+3", "1_0", "x", '"3"'])
@pytest.mark.anyio
async def test_r7_malformed_integer_is_ignored(draft: Client, number: str) -> None:
    """R7: a length or an offset that is negative, has more than 15 digits or another type is ignored."""
    made = await draft.create(b"", completes=False, upload_length=number)
    assert made.status == 201
    assert "upload-length" not in (await draft.head(draft.url(made))).headers
    refused = await draft.append(draft.url(made), 0, b"x", upload_offset=number)
    assert (refused.status, refused.problem["code"]) == (400, "ERR_INVALID_OFFSET")


@pytest.mark.anyio
async def test_r8_head_and_get_return_the_state_204(draft: Client) -> None:
    """R8: HEAD, and GET from version 8 on, return offset, completeness, length and limits, not cacheable."""
    url = await draft.made(6, b"abc")
    for method in ("HEAD",) if draft.version < 8 else ("HEAD", "GET"):
        answer = await draft.ask(method, url)
        assert (answer.headers["upload-offset"], answer.completeness) == ("3", "?0")
        assert answer.headers["upload-length"] == "6"
        assert (answer.status, answer.headers["cache-control"], answer.final.body) == (204, "no-store", b"")
        if draft.version > 5:
            lifetime = limit(answer.headers)["expires" if draft.version == 6 else "max-age"]
            assert 3500 < lifetime <= 3600


@pytest.mark.anyio
async def test_r9_append_204_201_415(draft: Client, server: RunningServer) -> None:
    """R9: appends answer ?0, the last one ?1; another media type is refused with Accept-Patch."""
    url = await draft.made(9)
    first = await draft.append(url, 0, b"abc", completes=False)
    assert (first.status, first.completeness) == (201 if draft.version < 7 else 204, "?0")
    if draft.version > 5:  # the media type exists since version 6
        refused = await draft.append(url, 3, b"def", content_type="application/offset+octet-stream")
        assert (refused.status, refused.headers["accept-patch"]) == (415, "application/partial-upload")
    assert (await draft.append(url, 3, b"def", completes=False)).headers["upload-offset"] == "6"
    last = await draft.append(url, 6, b"ghi")
    assert (last.status, last.completeness) == (201, "?1")
    assert server.stored(url) == b"abcdefghi"


@pytest.mark.anyio
async def test_r10_wrong_offset_409(draft: Client) -> None:
    """R10: 409 has the right offset in a header and both in the problem document; nothing changes."""
    url = await draft.made(9, b"abc")
    answer = await draft.append(url, 4, b"e", completes=False)
    assert (answer.status, answer.headers["upload-offset"], answer.completeness) == (409, "3", "?0")
    document = answer.problem
    assert document["type"] == PROBLEMS + "mismatching-upload-offset"
    assert (document["expected-offset"], document["provided-offset"]) == (3, 4)
    assert await offset(draft, url) == ("3", "?0")


@pytest.mark.parametrize("has_content_length", [True, False])
@pytest.mark.anyio
async def test_r11_body_longer_than_the_upload_400(draft: Client, has_content_length: bool) -> None:
    """R11: a body longer than the rest of the upload terminates it; up to version 6 only the request fails."""
    url = await draft.made(4, b"abc")
    send = draft.ask if has_content_length else chunked
    answer = await send("PATCH", url, draft.patch(3, completes=False), b"def")
    assert_inconsistent(answer)
    if draft.version < 7:
        assert answer.headers["upload-offset"] == "3"
        assert (await draft.append(url, 3, b"d")).completeness == "?1"
        return
    assert "upload-offset" not in answer.headers
    for request in (draft.head(url), draft.append(url, 3, b"d")):
        assert (await request).status == 410


@pytest.mark.anyio
async def test_r11_creation_longer_than_its_length_400(draft: Client) -> None:
    """R11: the same for a creation; its URL was sent in a 104, except behind a proxy."""
    answer = await chunked("POST", draft.endpoint, draft.creation(4, completes=True), b"abcdef")
    assert_inconsistent(answer)
    if draft.is_behind_proxy:
        assert answer.interims == []
        return
    (announced,) = answer.announced
    assert (await draft.head(server_url(draft, announced))).status == (404 if draft.version < 7 else 410)


def server_url(draft: Client, location: str) -> str:
    return draft.endpoint + location.rsplit("/", 1)[1]


@pytest.mark.parametrize("sent", [1, 5000, 6000])
@pytest.mark.anyio
async def test_r12_bytes_before_a_cut_are_kept(draft: Client, server: RunningServer, sent: int) -> None:
    """R12: the received bytes of a cut body are kept; it does not complete the upload, except up to version 6 (R13)."""
    data = bytes(content(3, 6000))
    # Of unknown length: only the end that never came would have completed it.
    if draft.is_behind_proxy:  # the URL of a creation is not sent before its end
        url = await draft.made(6000)
        cut = opened("PATCH", url, {**draft.patch(0, completes=True), **CHUNKED})
    else:
        cut = opened("POST", draft.endpoint, {**draft.creation(6000, completes=True), **CHUNKED})
    async with cut as connection:
        if not draft.is_behind_proxy:
            url = server_url(draft, (await connection.answer(interim=True)).headers["location"])
        await connection.send(b"%x\r\n%b" % (6000, data[:sent]))
        if draft.is_behind_proxy:  # nginx discards what it has not passed on when the connection ends
            await received(server, url, data[:sent])
        await connection.end(half=not draft.is_behind_proxy)
    assert await offset(draft, url) == (str(sent), "?1" if sent == 6000 and draft.version < 7 else "?0")
    last = await draft.append(url, sent, data[sent:])
    assert (last.status, last.completeness) == (201, "?1")
    assert server.stored(url) == data


@pytest.mark.anyio
async def test_r13_upload_is_open_at_its_length_until_complete(draft: Client) -> None:
    """R13: with all bytes and ?0 the upload is open until an empty body with ?1; up to version 6 it is complete."""
    until = "?1" if draft.version < 7 else "?0"
    for url in (await draft.made(3, b"abc"), await draft.made(3)):
        at = int((await offset(draft, url))[0])
        last = await draft.append(url, at, b"abc"[at:], completes=False)
        assert last.completeness == until
        assert await offset(draft, url) == ("3", until)
        assert (await draft.append(url, 3)).completeness == "?1"
        assert await offset(draft, url) == ("3", "?1")


@pytest.mark.anyio
async def test_r13_upload_without_length_is_open_until_complete(draft: Client) -> None:
    """R13: in every version an upload without a length stays open until ?1."""
    url = await draft.made(None, b"abc")
    assert await offset(draft, url) == ("3", "?0")
    assert (await draft.append(url, 3)).completeness == "?1"


@pytest.mark.anyio
async def test_r13_repeated_completion_gets_the_same_response(draft: Client) -> None:
    """R13: completing a complete upload again gets the same response and changes nothing."""
    url = await draft.made(3, b"abc")
    first, again = [await draft.append(url, 3) for _ in range(2)]
    assert (first.status, again.status, again.completeness) == (201, 201, "?1")
    refused = await chunked("PATCH", url, draft.patch(3, completes=True), b"more")
    assert refused.status == 400
    assert await offset(draft, url) == ("3", "?1")


@pytest.mark.anyio
async def test_r14_limits_413(draft: Client) -> None:
    """R14: OPTIONS returns the limits; a creation above them is 413 with the limits."""
    options = await draft.ask("OPTIONS", draft.endpoint, {})
    assert limit(options.headers) == {"max-size": 8 * MIB, "max-age": 3600}
    too_long = await draft.create(b"", 8 * MIB + 1, completes=False)
    assert_too_long(draft, too_long)
    url = await draft.made(None, b"x")
    streamed = await chunked("PATCH", url, draft.patch(1, completes=False), bytes(8 * MIB))
    assert_too_long(draft, streamed)


def assert_too_long(draft: Draft, answer: Responses) -> None:
    assert answer.status == 413, answer
    if draft.version > 5:  # Upload-Limit exists since version 6
        assert limit(answer.headers)["max-size"] == 8 * MIB


@pytest.mark.anyio
async def test_r15_delete_ends_a_running_append(draft: Client, server: RunningServer) -> None:
    """R15: DELETE ends the running append and the upload."""
    url = await draft.made(10)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="10")) as connection:
        await connection.send(b"abc")
        await received(server, url, b"abc")
        assert (await draft.ask("DELETE", url)).status == 204
        assert (await receive_responses(connection)).status == 400
    assert (await draft.head(url)).status == 404
    assert (await draft.ask("DELETE", url)).status == 404


@pytest.mark.anyio
async def test_r16_head_ends_a_running_append(draft: Client, server: RunningServer) -> None:
    """R16: HEAD ends the running append; an append at the returned offset is accepted."""
    url = await draft.made(10)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="10")) as connection:
        await connection.send(b"abc")
        await received(server, url, b"abc")
        assert await offset(draft, url) == ("3", "?0")
        assert (await draft.append(url, 3, b"defghij")).completeness == "?1"
        assert (await receive_responses(connection)).status == 400


@pytest.mark.anyio
async def test_r18_ids_are_random(draft: Client) -> None:
    """R18: an id has 128 random bits."""
    ids = [(await draft.made(1)).rsplit("/", 1)[1] for _ in range(2)]
    assert [len(id_) for id_ in ids] == [32, 32]
    assert sum(one != other for one, other in zip(*ids, strict=True)) > 16


@pytest.mark.anyio
async def test_r19_100_continue_follows_104(draft: Client) -> None:
    """R19: with Expect the client gets 100 after the 104 with the URL; nginx sends a 100 of its own."""
    headers = draft.creation(3, completes=True, expect="100-continue", content_length="3")
    async with opened("POST", draft.endpoint, headers) as connection:
        for status in (100,) if draft.is_behind_proxy else (104, 100):
            assert (await connection.answer(interim=True)).status == status
        assert (await receive_responses(connection, b"abc")).status == 201
