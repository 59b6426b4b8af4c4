"""The IETF's draft beside everything else: digests, tus 1.0 on the same uploads, browsers, hooks, and switched off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, Connection, create, patch_headers, request
from tests.support.draft import VERSIONS, Draft, told
from tests.support.server import RunningServer, start_server

pytestmark = pytest.mark.timeout(60)

ORIGIN = {"Origin": "https://app.example"}


@pytest.fixture(params=VERSIONS)
def draft(request: pytest.FixtureRequest, server: RunningServer) -> Draft:
    return Draft(server.url, request.param)


def digest(data: bytes, name: str = "sha-256") -> str:
    """``data``'s digest as RFC 9530 writes it."""
    return f"{name}=:{base64.b64encode(hashlib.new(name.replace('-', ''), data).digest()).decode()}:"


async def tus_head(url: str) -> Answer:
    return await request("HEAD", url, TUS)


# What a client says its bytes are


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
@pytest.mark.anyio
async def test_the_digest_of_a_body(draft: Draft, server: RunningServer, name: str) -> None:
    """R17: a body is appended only if it is what its Content-Digest says; else nothing changes, and it is told."""
    url = await draft.made(6)
    wrong = await draft.append(url, 0, b"abX", completes=False, content_digest=digest(b"abc", name))
    assert (wrong.status, wrong.problem["code"]) == (400, "ERR_CHECKSUM_MISMATCH")
    assert (wrong.headers["upload-offset"], wrong.headers["upload-complete"]) == ("0", "?0")
    right = await draft.append(url, 0, b"abc", completes=False, content_digest=digest(b"abc", name))
    assert right.headers["upload-offset"] == "3"
    assert (await draft.append(url, 3, b"def", content_digest=digest(b"def", name))).status == 201
    assert server.stored(url) == b"abcdef"


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
@pytest.mark.anyio
async def test_the_digest_of_a_whole_upload(draft: Draft, server: RunningServer, field: str) -> None:
    """R17: of a creation that is all of the upload, either digest is checked; the wrong one leaves no upload."""
    checked = Draft(server.url, draft.version, {field: digest(b"abc")})
    right = await checked.create(b"abc")
    assert (right.status, right.headers["upload-complete"]) == (201, "?1")
    assert server.stored(draft.url(right)) == b"abc"
    wrong = await checked.create(b"abX")
    assert (wrong.status, wrong.headers["upload-complete"]) == (400, "?0")
    (announced,) = wrong.announced
    assert (await draft.head(urljoin(server.url, announced))).status == 404


@pytest.mark.anyio
async def test_a_digest_that_nobody_knows(draft: Draft) -> None:
    """R17: an algorithm that is not spoken, or a field that is none, says nothing; the wrong length is refused."""
    for unknown in ("unixsum=:AAAA:", "sha-256", "sha-256=abc"):
        assert (await draft.create(b"abc", content_digest=unknown)).status == 201
    assert (await draft.create(b"abc", content_digest="sha-256=:AAAA:")).status == 400


@pytest.mark.anyio
async def test_a_cut_body_with_a_digest(draft: Draft, server: RunningServer) -> None:
    """R12, R17: of a body that is cut nobody can say it is wrong: what came is kept, and gone on from."""
    connection = await Connection.open(server.url)
    headers = draft.creation(6, completes=True, content_length="6", repr_digest=digest(b"abcdef"))
    await connection.send_head("POST", server.url, headers)
    url = urljoin(server.url, (await connection.answer(interim=True)).headers["location"])
    await connection.send(b"abcd")
    await connection.end(half=True)
    assert (await draft.head(url)).headers["upload-offset"] == "4"
    assert (await draft.append(url, 4, b"ef")).headers["upload-complete"] == "?1"
    assert server.stored(url) == b"abcdef"


@pytest.mark.anyio
async def test_the_digest_of_the_whole_is_kept(draft: Draft) -> None:
    """R17: sent in parts, the upload keeps the digest in its metadata, for whoever verifies it when it is complete."""
    made = await draft.create(b"", 3, completes=False, repr_digest=digest(b"abc"))
    header = (await tus_head(draft.url(made))).headers["upload-metadata"]
    name, value = header.split(" ")
    assert (name, base64.b64decode(value).decode()) == ("repr-digest", digest(b"abc"))


# With tus 1.0 on the same uploads


@pytest.mark.anyio
async def test_begun_by_tus(draft: Draft, server: RunningServer) -> None:
    """An upload of tus is gone on with, completed, and asked for, in the draft; metadata and all."""
    url = await create(server.url, 9, {**TUS, "Upload-Metadata": "filename YQ=="})
    assert (await request("PATCH", url, patch_headers(0), b"abc")).offset == 3
    assert (await draft.head(url)).headers["upload-complete"] == "?0"
    assert (await draft.append(url, 3, b"def", completes=False)).headers["upload-offset"] == "6"
    assert (await request("PATCH", url, patch_headers(6), b"g")).offset == 7
    assert (await draft.append(url, 7, b"hi")).headers["upload-complete"] == "?1"
    assert (await tus_head(url)).offset == 9
    assert (await tus_head(url)).headers["upload-metadata"] == "filename YQ=="
    assert server.stored(url) == b"abcdefghi"


@pytest.mark.anyio
async def test_begun_by_the_draft(draft: Draft, server: RunningServer) -> None:
    """The other way round; what describes the content is metadata to tus, and names its download."""
    described = {"content_type": "image/png", "content_disposition": 'inline; filename="a b.png"'}
    made = await draft.create(b"abc", 6, completes=False, **described)
    url = draft.url(made)
    state = await tus_head(url)
    assert (state.status, state.offset, state.headers["upload-length"]) == (200, 3, "6")
    assert state.headers["upload-metadata"] == "filename YSBiLnBuZw==,filetype aW1hZ2UvcG5n"
    assert (await request("PATCH", url, patch_headers(3), b"def")).offset == 6
    assert (await draft.head(url)).headers["upload-complete"] == "?1"
    download = await request("GET", url, {})
    assert (download.body, download.headers["content-type"]) == (b"abcdef", "image/png")
    assert "a b.png" in download.headers["content-disposition"]


@pytest.mark.parametrize("step", ["HEAD", "PATCH"])
@pytest.mark.anyio
async def test_left_open_at_its_length(server: RunningServer, step: str) -> None:
    """For tus it ends there: its client, told so, never comes back; HEAD without a version changes nothing."""
    draft = Draft(server.url)
    url = await draft.made(3, b"abc")
    for _ in range(2):
        plain = await request("HEAD", url, {})
        assert (plain.offset, plain.headers["upload-complete"]) == (3, "?0")
    answer = await (tus_head(url) if step == "HEAD" else request("PATCH", url, patch_headers(3), b""))
    assert answer.offset == 3
    assert (await draft.head(url)).headers["upload-complete"] == "?1"
    assert (await request("GET", url, {})).body == b"abc"


@pytest.mark.anyio
async def test_parts_of_a_final_upload(draft: Draft, server: RunningServer) -> None:
    """A partial upload may be filled in the draft; the final one takes no bytes in either."""
    parts = [await create(server.url, 3, {**TUS, "Upload-Concat": "partial"}) for _ in range(2)]
    for part in parts:
        assert (await draft.append(part, 0, b"abc")).headers["upload-complete"] == "?1"
    made = await request("POST", server.url, {**TUS, "Upload-Concat": "final;" + " ".join(parts)}, b"")
    final = urljoin(server.url, made.headers["location"])
    assert (await draft.head(final)).headers["upload-offset"] == "6"
    refused = await draft.append(final, 6, b"")
    assert (refused.status, refused.problem["code"]) == (403, "ERR_MODIFY_FINAL")


@pytest.mark.anyio
async def test_both_at_once(draft: Draft) -> None:
    """A request that claims to speak both is refused, and nothing is made."""
    answer = await draft.ask("POST", draft.endpoint, {**draft.creation(3, completes=True), **TUS}, b"abc")
    assert (answer.status, answer.interims) == (400, [])
    assert answer.headers["tus-resumable"] == "1.0.0"


@pytest.mark.anyio
async def test_a_tus_request_gets_nothing_of_the_draft(server: RunningServer) -> None:
    """No interim answers, and no headers of the draft, for who speaks tus 1.0."""
    draft = Draft(server.url)
    headers = {**TUS, "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}
    answer = await draft.ask("POST", server.url, headers, b"abc")
    assert (answer.status, answer.interims) == (201, [])
    assert not {"upload-complete", "upload-limit", "upload-draft-interop-version"} & answer.headers.keys()


# Browsers


@pytest.mark.anyio
async def test_a_browser_may(draft: Draft) -> None:
    """Preflights allow every method and header of the draft, and its answers, refused ones too, can be read."""
    asked = "upload-draft-interop-version, upload-complete, upload-offset, upload-length, content-digest, repr-digest"
    headers = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": asked}
    preflight = await draft.ask("OPTIONS", draft.endpoint, headers)
    assert {"PUT", "PATCH"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert set(asked.split(", ")) <= set(allowed)
    spoken = Draft(draft.endpoint, draft.version, ORIGIN)
    url = await spoken.made(3)
    for answer in (await spoken.create(b"abc"), await spoken.head(url), await spoken.append(url, 2, b"c")):
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
        assert {name for name in answer.headers if name.startswith("upload-")} | {"location"} <= exposed


@pytest.mark.anyio
async def test_who_can_only_post(draft: Draft) -> None:
    """X-HTTP-Method-Override is heard in this dialect too."""
    url = await draft.made(3)
    overridden = {**draft.patch(0, completes=True), "X-HTTP-Method-Override": "PATCH"}
    answer = await draft.ask("POST", url, overridden, b"abc")
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")


# Versions


def spoken(version: int, *, completes: bool) -> dict[str, str]:
    """What a client of this version says of completeness: version 3 has the opposite word for it."""
    word = ("Upload-Incomplete", not completes) if version == 3 else ("Upload-Complete", completes)
    return {"Upload-Draft-Interop-Version": str(version), word[0]: f"?{int(word[1])}"}


@pytest.mark.parametrize("version", range(3, 10))
@pytest.mark.anyio
async def test_every_version(server: RunningServer, version: int) -> None:
    """As URLSession does it: the whole in one request, cut; asked how far it came; and the rest, in its own words."""
    draft = Draft(server.url, version)
    connection = await Connection.open(server.url)
    await connection.send_head(
        "POST", server.url, {**spoken(version, completes=True), "Content-Type": "image/png", "Content-Length": "6"}
    )
    first = await connection.answer(interim=True)
    assert (first.status, first.headers["upload-draft-interop-version"]) == (104, str(version))
    url = urljoin(server.url, first.headers["location"])
    await connection.send(b"abcd")
    await connection.end(half=True)
    state = await draft.head(url)
    told = {name: state.headers.get(name) for name in ("upload-offset", "upload-complete", "upload-incomplete")}
    assert told == {
        "upload-offset": "4",
        "upload-complete": None if version == 3 else "?0",
        "upload-incomplete": "?1" if version == 3 else None,
    }
    typed = {"Content-Type": "application/partial-upload"} if version > 5 else {}
    headers = {**spoken(version, completes=True), **typed, "Upload-Offset": "4"}
    last = await draft.ask("PATCH", url, headers, b"ef")
    assert last.status == 201
    assert last.headers["upload-incomplete" if version == 3 else "upload-complete"] == ("?0" if version == 3 else "?1")
    assert bool(last.progress) == (version > 4)
    assert server.stored(url) == b"abcdef"


# Settings


@pytest.mark.anyio
async def test_switched_off(tmp_path: Path) -> None:
    """``uploads.ietf_draft = false``: its headers mean nothing, and no answer has any of them."""
    server = start_server(tmp_path / "data", settings={"UPLOADS__IETF_DRAFT": "false"})
    try:
        draft = Draft(server.url)
        refused = await draft.create(b"abc")
        assert (refused.status, refused.interims) == (412, [])
        url = await create(server.url, 3)
        for answer in (await draft.ask("OPTIONS", server.url, {}), await draft.ask("HEAD", url, {})):
            assert answer.status in (200, 204)
            assert not {"upload-limit", "upload-complete", "accept-patch"} & answer.headers.keys()
        both = await draft.ask("HEAD", url, {**draft.named, **TUS})
        assert both.status == 200
    finally:
        server.kill()


@pytest.mark.anyio
async def test_without_creation_with_upload(tmp_path: Path) -> None:
    """``uploads.creation_with_upload = false``: only careful creations are taken; without expiry there is no limit."""
    settings = {"UPLOADS__CREATION_WITH_UPLOAD": "false", "EXPIRATION__UNFINISHED_SECONDS": "0"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        draft = Draft(server.url)
        refused = await draft.create(b"abc")
        assert (refused.status, refused.interims) == (501, [])
        url = await draft.made(3)
        answer = await draft.append(url, 0, b"abc")
        assert (answer.headers["upload-complete"], answer.headers["upload-limit"]) == ("?1", "min-size=0")
    finally:
        server.kill()


@pytest.mark.anyio
async def test_a_slow_body_is_ended_and_kept(tmp_path: Path) -> None:
    """R18: a client that sends nothing is answered 503 with the offset, and may go on."""
    server = start_server(tmp_path / "data", settings={"UPLOADS__BODY_IDLE_SECONDS": "0.3"})
    try:
        draft = Draft(server.url)
        connection = await Connection.open(server.url)
        await connection.send_head("POST", server.url, draft.creation(6, completes=True, content_length="6"))
        answer = await asyncio.wait_for(told(connection, b"abc"), 10)
        connection.close()
        assert (answer.status, answer.headers["upload-offset"]) == (503, "3")
        assert answer.headers["retry-after"]
        url = urljoin(server.url, answer.announced[0])
        assert (await draft.append(url, 3, b"def")).headers["upload-complete"] == "?1"
    finally:
        server.kill()
