"""Resumable Uploads for HTTP, rule by rule, as a client of each version that is in use meets them on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tests.support.client import Connection
from tests.support.content import MIB, content
from tests.support.draft import PROBLEMS, VERSIONS, Draft, Told, told
from tests.support.server import RunningServer
from tests.support.sockets import all_read

pytestmark = pytest.mark.timeout(60)

SETTINGS = {"UPLOADS__LENGTH_MAX": "8MiB", "EXPIRATION__UNFINISHED_SECONDS": "3600"}
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.fixture(params=VERSIONS)
def draft(request: pytest.FixtureRequest, server: RunningServer) -> Draft:
    return Draft(server.url, request.param)


@asynccontextmanager
async def opened(method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
    """A request whose head was sent, and whose body the test sends."""
    connection = await Connection.open(url)
    try:
        await connection.send_head(method, url, headers)
        yield connection
    finally:
        connection.close()


async def chunked(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Told:
    """The answer to a body of unknown length."""
    async with opened(method, url, {**headers, **CHUNKED}) as connection:
        return await told(connection, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


def limit(answer: Mapping[str, str]) -> dict[str, int]:
    """``Upload-Limit`` as a table."""
    return {key: int(value) for key, _, value in (part.partition("=") for part in answer["upload-limit"].split(", "))}


async def offset(draft: Draft, url: str) -> tuple[str, str]:
    """Offset and completeness, as HEAD tells them."""
    answer = await draft.head(url)
    assert answer.status == 204, answer
    return answer.headers["upload-offset"], answer.headers["upload-complete"]


@pytest.mark.parametrize("named", [{}, {"Upload-Draft-Interop-Version": "2"}, {"Upload-Draft-Interop-Version": "99"}])
@pytest.mark.anyio
async def test_r1_no_interim_answer_to_who_names_no_version(server: RunningServer, named: dict[str, str]) -> None:
    """R1: without a version that is spoken, a whole upload is taken in one request, and nothing is sent before 201."""
    draft = Draft(server.url)
    answer = await draft.ask("POST", server.url, {**named, "Upload-Complete": "?1"}, b"whole")
    assert (answer.status, answer.interims) == (201, [])
    assert "upload-draft-interop-version" not in answer.headers
    assert server.stored(draft.url(answer)) == b"whole"
    part = await draft.ask("POST", server.url, {**named, "Upload-Complete": "?0"}, b"part")
    assert (part.status, part.interims) == (412, [])


@pytest.mark.anyio
async def test_r1_every_interim_answer_bears_the_version(draft: Draft) -> None:
    """R1: each 104 names the version that the client speaks."""
    answer = await draft.create(b"some")
    assert answer.interims
    for interim in answer.interims:
        assert (interim.status, interim.headers["upload-draft-interop-version"]) == (104, str(draft.version))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.anyio
async def test_r2_any_method_with_content_creates(draft: Draft, server: RunningServer, method: str) -> None:
    """R2: ?0 is acknowledged with 201, Location and limits and stays open; ?1 is all of it."""
    part = await draft.ask(method, server.url, draft.creation(10, completes=False), b"first")
    assert (part.status, part.headers["upload-complete"]) == (201, "?0")
    assert limit(part.headers)["max-size"] == 8 * MIB
    assert await offset(draft, draft.url(part)) == ("5", "?0")
    whole = await draft.ask(method, server.url, draft.creation(None, completes=True), b"whole")
    assert (whole.status, whole.headers["upload-complete"]) == (201, "?1")
    assert server.stored(draft.url(whole)) == b"whole"
    assert await offset(draft, draft.url(whole)) == ("5", "?1")


@pytest.mark.parametrize("value", ["1", "true", "?2", "?1, ?0", ""])
@pytest.mark.anyio
async def test_r2_a_malformed_completeness_is_none(draft: Draft, value: str) -> None:
    """R2: what is no Boolean is ignored as a whole, and without it nothing is created."""
    answer = await draft.ask("POST", draft.endpoint, {**draft.named, "Upload-Complete": value}, b"x")
    assert (answer.status, answer.announced) == (400, [])
    assert "Upload-Complete" in answer.problem["detail"]


@pytest.mark.anyio
async def test_r3_the_url_comes_before_the_body(draft: Draft) -> None:
    """R3: the first 104 has Location and limits while no byte of the body was sent; later ones only the offset."""
    async with opened("POST", draft.endpoint, draft.creation(6, completes=True, content_length="6")) as connection:
        first = await connection.answer(interim=True)
        assert first.status == 104
        assert {"location", "upload-limit"} <= first.headers.keys()
        assert "upload-offset" not in first.headers
        answer = await told(connection, b"abcdef")
    assert answer.announced == []
    assert answer.progress == [6]
    assert answer.headers["location"] == first.headers["location"]


@pytest.mark.anyio
async def test_r3_an_append_tells_progress_and_no_url(draft: Draft) -> None:
    """R3: 104 while an append runs has the offset that is safe, never Location."""
    url = await draft.made(6)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="6")) as connection:
        await connection.send(b"abc")
        progress = await asyncio.wait_for(connection.answer(interim=True), 10)
        answer = await told(connection, b"def")
    assert (progress.status, progress.headers["upload-offset"]) == (104, "3")
    assert "location" not in progress.headers
    assert (answer.announced, answer.headers["upload-complete"]) == ([], "?1")


@pytest.mark.anyio
async def test_r4_one_location_in_one_exchange(draft: Draft) -> None:
    """R4: every Location of an exchange is the same, letter by letter; and it is where the upload is."""
    for completes in (False, True):
        answer = await draft.create(b"abc", completes=completes)
        assert answer.announced == [answer.headers["location"]]
        assert (await offset(draft, draft.url(answer)))[0] == "3"


@pytest.mark.anyio
async def test_r5_answers_tell_whether_they_are_of_the_upload_itself(draft: Draft) -> None:
    """R5: Upload-Complete stands in every answer to a creation or an append, the refused ones too."""
    url = await draft.made(4)
    answers = [
        await draft.create(b"abc", completes=False),
        await draft.create(b"abc", 4),  # two lengths
        await draft.append(url, 1, b"abc"),  # the wrong offset
        await draft.append(url, 0, b"ab", completes=False),
        await draft.append(draft.endpoint + "none", 0, b"ab"),
    ]
    assert [answer.headers["upload-complete"] for answer in answers] == ["?0"] * 5
    assert (await draft.append(url, 2, b"cd")).headers["upload-complete"] == "?1"


@pytest.mark.anyio
async def test_r6_every_word_of_the_length_must_agree(draft: Draft) -> None:
    """R6: two lengths that differ are refused before anything changes, whichever two headers or requests tell them."""
    assert_inconsistent(await draft.create(b"abc", 4))
    url = await draft.made(4)
    assert_inconsistent(await draft.append(url, 0, b"abc"))
    assert_inconsistent(await draft.append(url, 0, b"a", completes=False, upload_length="5"))
    assert await offset(draft, url) == ("0", "?0")
    assert (await draft.append(url, 0, b"abcd", upload_length="4")).status == 201


@pytest.mark.anyio
async def test_r6_a_body_that_ends_before_the_length(draft: Draft) -> None:
    """R6: a last body of unknown length that ends too early is refused; what it brought is kept, and gone on from."""
    url = await draft.made(4)
    assert_inconsistent(await chunked("PATCH", url, draft.patch(0, completes=True), b"abc"))
    assert await offset(draft, url) == ("3", "?0")
    assert (await draft.append(url, 3, b"d")).headers["upload-complete"] == "?1"


@pytest.mark.anyio
async def test_r6_the_length_follows_from_the_last_body(draft: Draft) -> None:
    """R6: of an upload whose length nobody told, the end of the completing body is the length."""
    url = await draft.made(None)
    assert "upload-length" not in (await draft.head(url)).headers
    assert (await draft.append(url, 0, b"abc", completes=False)).status in (201, 204)
    assert (await chunked("PATCH", url, draft.patch(3, completes=True), b"de")).status == 201
    assert (await draft.head(url)).headers["upload-length"] == "5"


def assert_inconsistent(answer: Told) -> None:
    assert (answer.status, answer.headers["upload-complete"]) == (400, "?0"), answer
    assert answer.problem["type"] == PROBLEMS + "inconsistent-upload-length"


@pytest.mark.parametrize("number", ["-1", "1000000000000000", "1.5", "+3", "1_0", "x", '"3"'])
@pytest.mark.anyio
async def test_r7_what_is_no_integer_is_not_there(draft: Draft, number: str) -> None:
    """R7: a length or offset beyond 15 digits, negative or of another type is ignored as a whole."""
    made = await draft.create(b"", completes=False, upload_length=number)
    assert made.status == 201
    assert "upload-length" not in (await draft.head(draft.url(made))).headers
    refused = await draft.append(draft.url(made), 0, b"x", upload_offset=number)
    assert (refused.status, refused.problem["code"]) == (400, "ERR_INVALID_OFFSET")


@pytest.mark.anyio
async def test_r8_the_state_of_an_upload(draft: Draft) -> None:
    """R8: offset, completeness, length and limits, never cached, by HEAD and, where the version has it, by GET."""
    url = await draft.made(6, b"abc")
    for method in ("HEAD",) if draft.version < 8 else ("HEAD", "GET"):
        answer = await draft.ask(method, url)
        told = {name: answer.headers[name] for name in ("upload-offset", "upload-complete", "upload-length")}
        assert told == {"upload-offset": "3", "upload-complete": "?0", "upload-length": "6"}
        assert (answer.status, answer.headers["cache-control"], answer.final.body) == (204, "no-store", b"")
        lifetime = limit(answer.headers)["expires" if draft.version == 6 else "max-age"]
        assert 3500 < lifetime <= 3600


@pytest.mark.anyio
async def test_r9_appending(draft: Draft, server: RunningServer) -> None:
    """R9: parts are acknowledged with ?0, the last with ?1; another type of body is refused and names the right one."""
    url = await draft.made(9)
    first = await draft.append(url, 0, b"abc", completes=False)
    assert (first.status, first.headers["upload-complete"]) == (201 if draft.version == 6 else 204, "?0")
    refused = await draft.append(url, 3, b"def", content_type="application/offset+octet-stream")
    assert (refused.status, refused.headers["accept-patch"]) == (415, "application/partial-upload")
    assert (await draft.append(url, 3, b"def", completes=False)).headers["upload-offset"] == "6"
    last = await draft.append(url, 6, b"ghi")
    assert (last.status, last.headers["upload-complete"]) == (201, "?1")
    assert server.stored(url) == b"abcdefghi"


@pytest.mark.anyio
async def test_r10_the_wrong_offset(draft: Draft) -> None:
    """R10: 409 with the right offset in a header, both offsets in the document, and nothing changed."""
    url = await draft.made(9, b"abc")
    answer = await draft.append(url, 4, b"e", completes=False)
    assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-complete"]) == (409, "3", "?0")
    document = answer.problem
    assert document["type"] == PROBLEMS + "mismatching-upload-offset"
    assert (document["expected-offset"], document["provided-offset"]) == (3, 4)
    assert await offset(draft, url) == ("3", "?0")


@pytest.mark.parametrize("can_announce", [True, False])
@pytest.mark.anyio
async def test_r11_beyond_the_length(draft: Draft, can_announce: bool) -> None:
    """R11: a body that runs over the length, or says it would, ends the upload; up to version 6 only itself."""
    url = await draft.made(4, b"abc")
    send = draft.ask if can_announce else chunked
    answer = await send("PATCH", url, draft.patch(3, completes=False), b"def")
    assert_inconsistent(answer)
    if draft.version < 7:
        assert answer.headers["upload-offset"] == "3"
        assert (await draft.append(url, 3, b"d")).headers["upload-complete"] == "?1"
        return
    assert "upload-offset" not in answer.headers
    for request in (draft.head(url), draft.append(url, 3, b"d")):
        assert (await request).status == 410


@pytest.mark.anyio
async def test_r11_beyond_the_length_of_a_creation(draft: Draft) -> None:
    """R11: the same of a creation whose URL was told before its body."""
    answer = await chunked("POST", draft.endpoint, draft.creation(4, completes=True), b"abcdef")
    assert_inconsistent(answer)
    (announced,) = answer.announced
    assert (await draft.head(server_url(draft, announced))).status == (404 if draft.version == 6 else 410)


def server_url(draft: Draft, location: str) -> str:
    return draft.endpoint + location.rsplit("/", 1)[1]


@pytest.mark.parametrize("sent", [1, 5000, 6000])
@pytest.mark.anyio
async def test_r12_what_came_before_a_cut_counts(draft: Draft, server: RunningServer, sent: int) -> None:
    """R12: a cut body counts as far as it came; even with its last byte it completes only what ends there (R13)."""
    data = bytes(content(3, 6000))
    # Of unknown length: only the end that never came would have completed it.
    async with opened("POST", draft.endpoint, {**draft.creation(6000, completes=True), **CHUNKED}) as connection:
        announced = await connection.answer(interim=True)
        await connection.send(b"%x\r\n%b" % (6000, data[:sent]))
        await connection.end(half=True)
    url = server_url(draft, announced.headers["location"])
    assert await offset(draft, url) == (str(sent), "?1" if sent == 6000 and draft.version < 7 else "?0")
    last = await draft.append(url, sent, data[sent:])
    assert (last.status, last.headers["upload-complete"]) == (201, "?1")
    assert server.stored(url) == data


@pytest.mark.anyio
async def test_r13_an_upload_may_be_open_at_its_length(draft: Draft) -> None:
    """R13: with ?0 the last byte completes nothing, an empty body with ?1 does; up to version 6 both do."""
    until = "?1" if draft.version < 7 else "?0"
    for url in (await draft.made(3, b"abc"), await draft.made(3)):
        at = int((await offset(draft, url))[0])
        last = await draft.append(url, at, b"abc"[at:], completes=False)
        assert last.headers["upload-complete"] == until
        assert await offset(draft, url) == ("3", until)
        assert (await draft.append(url, 3)).headers["upload-complete"] == "?1"
        assert await offset(draft, url) == ("3", "?1")


@pytest.mark.anyio
async def test_r13_without_a_length_there_is_no_end_but_the_word(draft: Draft) -> None:
    """R13: in every version an upload whose length nobody told stays open until ?1."""
    url = await draft.made(None, b"abc")
    assert await offset(draft, url) == ("3", "?0")
    assert (await draft.append(url, 3)).headers["upload-complete"] == "?1"


@pytest.mark.anyio
async def test_r13_a_lost_answer_is_told_again(draft: Draft) -> None:
    """R13: who asks once more for the completion of a complete upload gets the same answer, and changes nothing."""
    url = await draft.made(3, b"abc")
    first, again = [await draft.append(url, 3) for _ in range(2)]
    assert (first.status, again.status, again.headers["upload-complete"]) == (201, 201, "?1")
    refused = await chunked("PATCH", url, draft.patch(3, completes=True), b"more")
    assert refused.status == 400
    assert await offset(draft, url) == ("3", "?1")


@pytest.mark.anyio
async def test_r14_limits(draft: Draft) -> None:
    """R14: OPTIONS tells the limits of uploads to be; what is beyond them is 413 with the limits."""
    options = await draft.ask("OPTIONS", draft.endpoint, {})
    assert limit(options.headers) == {"max-size": 8 * MIB, "max-age": 3600}
    too_long = await draft.create(b"", 8 * MIB + 1, completes=False)
    assert (too_long.status, limit(too_long.headers)["max-size"]) == (413, 8 * MIB)
    url = await draft.made(None, b"x")
    streamed = await chunked("PATCH", url, draft.patch(1, completes=False), bytes(8 * MIB))
    assert (streamed.status, limit(streamed.headers)["max-size"]) == (413, 8 * MIB)


@pytest.mark.anyio
async def test_r15_cancelling(draft: Draft) -> None:
    """R15: DELETE ends the append that is under way, and the upload."""
    url = await draft.made(10)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="10")) as connection:
        await connection.send(b"abc")
        await all_read(int(url.split(":")[2].split("/")[0]), connection.own_port)
        assert (await draft.ask("DELETE", url)).status == 204
        assert (await told(connection)).status == 400
    assert (await draft.head(url)).status == 404
    assert (await draft.ask("DELETE", url)).status == 404


@pytest.mark.anyio
async def test_r16_an_offset_that_was_told_can_be_used(draft: Draft) -> None:
    """R16: asking for the offset ends the append that is under way; the next one at that offset is taken."""
    url = await draft.made(10)
    async with opened("PATCH", url, draft.patch(0, completes=True, content_length="10")) as connection:
        await connection.send(b"abc")
        await all_read(int(url.split(":")[2].split("/")[0]), connection.own_port)
        assert await offset(draft, url) == ("3", "?0")
        assert (await draft.append(url, 3, b"defghij")).headers["upload-complete"] == "?1"
        assert (await told(connection)).status == 400


@pytest.mark.anyio
async def test_r18_urls_cannot_be_guessed(draft: Draft) -> None:
    """R18: 128 random bits make the difference between two uploads."""
    ids = [(await draft.made(1)).rsplit("/", 1)[1] for _ in range(2)]
    assert [len(id_) for id_ in ids] == [32, 32]
    assert sum(one != other for one, other in zip(*ids, strict=True)) > 16


@pytest.mark.anyio
async def test_r19_104_does_not_replace_100(draft: Draft) -> None:
    """R19: who expects 100 gets it, after the 104 that tells the URL."""
    headers = draft.creation(3, completes=True, expect="100-continue", content_length="3")
    async with opened("POST", draft.endpoint, headers) as connection:
        statuses = [(await connection.answer(interim=True)).status for _ in range(2)]
        assert statuses == [104, 100]
        assert (await told(connection, b"abc")).status == 201
