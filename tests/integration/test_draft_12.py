"""What draft -12 (interop 9) changed, rule by rule; versions up to 8 stay as they were."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator, Mapping

import pytest

from tests.support.client import Connection, request
from tests.support.draft import ALL_VERSIONS, PROBLEMS, Draft, Responses, receive_responses
from tests.support.proxies import running_proxy
from tests.support.server import RunningServer

pytestmark = pytest.mark.timeout(60)

SETTINGS = {
    "SERVER__TRUSTED_PROXIES": "127.0.0.1",
    "UPLOADS__LENGTH_MAX": "1000",
    "UPLOADS__APPEND_BYTES_MAX": "20",
    "UPLOADS__APPEND_BYTES_MIN": "4",
    "EXPIRATION__UNFINISHED_SECONDS": "3600",
}
#: Versions with Upload-Limit that bind appends only.
BEFORE = (6, 7, 8)


@pytest.fixture(scope="module")
def nginx(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint behind nginx with the configuration of docs/proxies.md."""
    with running_proxy("nginx", server.port, tmp_path_factory.mktemp("nginx")) as proxy:
        yield proxy.endpoint


@pytest.fixture(params=["direct", "nginx"])
def endpoint(request: pytest.FixtureRequest, server: RunningServer) -> str:
    return server.url if request.param == "direct" else str(request.getfixturevalue("nginx"))


@pytest.fixture
def draft(endpoint: str) -> Draft:
    return Draft(endpoint, 9)


@pytest.fixture(params=BEFORE)
def older(request: pytest.FixtureRequest, endpoint: str) -> Draft:
    return Draft(endpoint, request.param)


def limits(headers: Mapping[str, str]) -> dict[str, int]:
    """``Upload-Limit`` as a dictionary."""
    return {key: int(value) for key, _, value in (part.partition("=") for part in headers["upload-limit"].split(", "))}


async def chunked(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Responses:
    """Send a body without Content-Length and return the responses."""
    connection = await Connection.open(url)
    try:
        await connection.send_head(method, url, {**headers, "Transfer-Encoding": "chunked"})
        return await receive_responses(connection, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    finally:
        connection.close()


@pytest.mark.parametrize("version", [None, *ALL_VERSIONS])
@pytest.mark.anyio
async def test_options_has_limits(endpoint: str, version: int | None) -> None:
    """OPTIONS on the creation URL has Upload-Limit; Accept-Patch was removed with version 9."""
    named = {} if version is None else {"Upload-Draft-Interop-Version": str(version)}
    answer = await request("OPTIONS", endpoint, named)
    expected = {"max-size": 1000, "max-append-size": 20, "min-append-size": 4, "max-age": 3600}
    assert (answer.status, limits(answer.headers)) == (204, expected)
    assert ("accept-patch" in answer.headers) == (version is not None and version < 9)


@pytest.mark.anyio
async def test_creation_above_the_maximum_413(draft: Draft) -> None:
    """max-append-size binds creations, with and without Content-Length; 413 has the limits."""
    for completes in (False, True):
        answer = await draft.create(b"x" * 21, completes=completes)
        assert (answer.status, answer.problem["code"]) == (413, "ERR_APPEND_TOO_LARGE")
        assert limits(answer.headers)["max-append-size"] == 20
    answer = await chunked("POST", draft.endpoint, draft.creation(None, completes=False), b"x" * 21)
    assert answer.status == 413
    assert (await draft.create(b"x" * 20, completes=False)).status == 201


@pytest.mark.anyio
async def test_creation_below_the_minimum_400(draft: Draft) -> None:
    """min-append-size binds creations, but neither one without content nor one with the whole content."""
    answer = await draft.create(b"xyz", completes=False)
    assert (answer.status, answer.problem["code"]) == (400, "ERR_APPEND_TOO_SMALL")
    assert (await draft.create(b"", completes=False)).status == 201
    assert (await draft.create(b"xyz", completes=True)).status == 201
    assert (await draft.create(b"", completes=True)).status == 201


@pytest.mark.anyio
async def test_creation_is_not_bound_before_version_9(older: Draft) -> None:
    """Up to version 8 the limits of appends say nothing about creations."""
    assert (await older.create(b"x" * 21, completes=False)).status == 201
    assert (await older.create(b"x", completes=False)).status == 201


@pytest.mark.parametrize("version", [6, 7, 8, 9])
@pytest.mark.anyio
async def test_append_outside_of_the_limits(endpoint: str, version: int) -> None:
    """An append with too much is 413, one with too little 400 unless it completes the upload; the offset stays true."""
    draft = Draft(endpoint, version)
    url = await draft.made(30)
    assert (await draft.append(url, 0, b"x" * 21, completes=False)).status == 413
    assert (await draft.append(url, 0, b"xyz", completes=False)).status == 400
    assert (await draft.append(url, 7, b"xyz", completes=False)).status == 409
    over = await chunked("PATCH", url, draft.patch(0, completes=False), b"x" * 21)
    assert (over.status, over.headers["upload-complete"]) == (413, "?0")
    offset = int((await draft.head(url)).headers["upload-offset"])
    for left in (b"x" * (20 - offset), b"x" * 8):
        if left:
            assert (await draft.append(url, offset, left, completes=False)).status in (201, 204)
            offset += len(left)
    assert (await draft.append(url, offset, b"yz", completes=True)).headers["upload-complete"] == "?1"


@pytest.mark.anyio
async def test_lifetime_never_moves_earlier(draft: Draft) -> None:
    """The end that Date and max-age imply is the same or later in each response, to a second.

    A second may begin between the computation of max-age and that of Date.
    """
    ends = []
    url = await draft.made(400)
    for offset in range(0, 200, 10):
        for answer in (await draft.append(url, offset, b"x" * 10, completes=False), await draft.head(url)):
            date = email.utils.parsedate_to_datetime(answer.headers["date"])
            ends.append(date.timestamp() + limits(answer.headers)["max-age"])
    assert min(ends) >= max(ends) - 1


@pytest.mark.anyio
async def test_mismatch_has_the_right_offset_409(draft: Draft) -> None:
    """A wrong offset is 409 with Upload-Complete: ?0 and the right offset, of a complete upload as well."""
    url = await draft.made(10, b"abcde")
    whole = draft.url(await draft.create(b"abcde"))
    for target in (url, whole):
        answer = await draft.append(target, 3, b"defgh", completes=False)
        assert (answer.status, answer.problem["type"]) == (409, f"{PROBLEMS}mismatching-upload-offset")
        assert (answer.headers["upload-complete"], answer.headers["upload-offset"]) == ("?0", "5")


@pytest.mark.anyio
async def test_append_after_completion_gets_the_final_response(draft: Draft) -> None:
    """A client that lost the last response may append nothing at the end and gets that response again."""
    url = await draft.made(5)
    last = await draft.append(url, 0, b"abcde")
    again = await draft.append(url, 5, b"")
    assert (again.status, again.headers["upload-complete"]) == (last.status, "?1") == (201, "?1")
    assert again.headers["upload-offset"] == last.headers["upload-offset"] == "5"
    assert (await request("GET", url, {})).body == b"abcde"


@pytest.mark.anyio
async def test_get_of_an_unfinished_upload_is_answered_like_head(draft: Draft) -> None:
    """GET has no content and the same headers as HEAD."""
    url = await draft.made(10, b"abcde")
    head, get = await draft.head(url), await draft.ask("GET", url)
    varying = ("date", "x-request-id", "upload-limit")
    same = [{name: value for name, value in each.headers.items() if name not in varying} for each in (head, get)]
    assert (get.status, get.final.body, same[1]) == (head.status, b"", same[0])
    assert (get.headers["upload-offset"], get.headers["upload-complete"]) == ("5", "?0")


@pytest.mark.anyio
async def test_incremental_is_accepted(draft: Draft) -> None:
    """A request may ask for incremental delivery, and a web page as well."""
    answer = await draft.ask(
        "POST", draft.endpoint, {**draft.creation(5, completes=True), "Incremental": "?1"}, b"abcde"
    )
    assert answer.status == 201
    origin = {"Origin": "https://u.example", "Access-Control-Request-Method": "POST"}
    preflight = await request("OPTIONS", draft.endpoint, origin)
    assert "incremental" in preflight.headers["access-control-allow-headers"].lower().split(", ")


@pytest.mark.anyio
async def test_offset_equals_length_at_completion(draft: Draft) -> None:
    """A last body that ends elsewhere than at the length does not complete the upload; one may set the length."""
    url = await draft.made(10)
    short = await chunked("PATCH", url, draft.patch(0, completes=True), b"abcde")
    assert (short.status, short.problem["type"]) == (400, f"{PROBLEMS}inconsistent-upload-length")
    head = await draft.head(url)
    # nginx gives a body that it has received at once a Content-Length; then it is refused by its head.
    assert head.headers["upload-offset"] in ("0", "5")
    assert head.headers["upload-complete"] == "?0"
    deferred = await draft.made(None, b"abcde")
    assert (await chunked("PATCH", deferred, draft.patch(5, completes=True), b"fg")).status == 201
    head = await draft.head(deferred)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("7", "7")
