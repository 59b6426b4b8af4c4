"""The IETF draft with digests, with tus 1.0 on the same uploads, in browsers, in every version, and switched off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, Connection, create, patch_headers, request
from tests.support.draft import VERSIONS, Draft, receive_responses
from tests.support.server import RunningServer, start_server

pytestmark = pytest.mark.timeout(60)

ORIGIN = {"Origin": "https://app.example"}


@pytest.fixture(params=VERSIONS)
def draft(request: pytest.FixtureRequest, server: RunningServer) -> Draft:
    return Draft(server.url, request.param)


def digest(data: bytes, name: str = "sha-256") -> str:
    """The digest of ``data`` as a field value of RFC 9530."""
    return f"{name}=:{base64.b64encode(hashlib.new(name.replace('-', ''), data).digest()).decode()}:"


async def tus_head(url: str) -> Answer:
    return await request("HEAD", url, TUS)


# Digests


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
@pytest.mark.anyio
async def test_wrong_content_digest_changes_nothing(draft: Draft, server: RunningServer, name: str) -> None:
    """R17: a body that does not match its Content-Digest is refused and changes nothing."""
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
async def test_wrong_digest_of_a_creation_leaves_no_upload(draft: Draft, server: RunningServer, field: str) -> None:
    """R17: for a creation with the whole upload both digest fields are checked; a wrong one leaves no upload."""
    checked = Draft(server.url, draft.version, {field: digest(b"abc")})
    right = await checked.create(b"abc")
    assert (right.status, right.headers["upload-complete"]) == (201, "?1")
    assert server.stored(draft.url(right)) == b"abc"
    wrong = await checked.create(b"abX")
    assert (wrong.status, wrong.headers["upload-complete"]) == (400, "?0")
    (announced,) = wrong.announced
    assert (await draft.head(urljoin(server.url, announced))).status == 404


@pytest.mark.anyio
async def test_unknown_digest_is_ignored(draft: Draft) -> None:
    """R17: an unknown algorithm and a malformed field are ignored; a digest of the wrong length is refused."""
    for unknown in ("unixsum=:AAAA:", "sha-256", "sha-256=abc"):
        assert (await draft.create(b"abc", content_digest=unknown)).status == 201
    assert (await draft.create(b"abc", content_digest="sha-256=:AAAA:")).status == 400


@pytest.mark.anyio
async def test_cut_body_with_a_digest_is_kept(draft: Draft, server: RunningServer) -> None:
    """R12, R17: the digest of a cut body cannot be checked, so the received bytes are kept."""
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
async def test_digest_of_the_upload_is_stored(draft: Draft) -> None:
    """R17: the digest of an upload in parts is stored in its metadata, to be verified when it is complete."""
    made = await draft.create(b"", 3, completes=False, repr_digest=digest(b"abc"))
    header = (await tus_head(draft.url(made))).headers["upload-metadata"]
    name, value = header.split(" ")
    assert (name, base64.b64decode(value).decode()) == ("repr-digest", digest(b"abc"))


# With tus 1.0 on the same uploads


@pytest.mark.anyio
async def test_tus_upload_continued_by_the_draft(draft: Draft, server: RunningServer) -> None:
    """A client of the draft can continue, complete and inspect an upload that tus 1.0 created."""
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
async def test_draft_upload_continued_by_tus(draft: Draft, server: RunningServer) -> None:
    """A tus client can continue an upload of the draft; the content headers are its metadata and name its download."""
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
async def test_upload_open_at_its_length_is_completed_by_tus(server: RunningServer, step: str) -> None:
    """In tus an upload ends at its length, so a tus request completes it; HEAD without a version changes nothing."""
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
async def test_partial_upload_filled_by_the_draft(draft: Draft, server: RunningServer) -> None:
    """A client of the draft may append to a partial upload; a final upload accepts bytes in neither protocol."""
    parts = [await create(server.url, 3, {**TUS, "Upload-Concat": "partial"}) for _ in range(2)]
    for part in parts:
        assert (await draft.append(part, 0, b"abc")).headers["upload-complete"] == "?1"
    made = await request("POST", server.url, {**TUS, "Upload-Concat": "final;" + " ".join(parts)}, b"")
    final = urljoin(server.url, made.headers["location"])
    assert (await draft.head(final)).headers["upload-offset"] == "6"
    refused = await draft.append(final, 6, b"")
    assert (refused.status, refused.problem["code"]) == (403, "ERR_MODIFY_FINAL")


@pytest.mark.anyio
async def test_headers_of_both_protocols_are_refused(draft: Draft) -> None:
    """A creation with the headers of both protocols is refused and creates nothing."""
    answer = await draft.ask("POST", draft.endpoint, {**draft.creation(3, completes=True), **TUS}, b"abc")
    assert (answer.status, answer.interims) == (400, [])
    assert answer.headers["tus-resumable"] == "1.0.0"


@pytest.mark.anyio
async def test_tus_request_gets_no_draft_headers(server: RunningServer) -> None:
    """A request of tus 1.0 gets no interim responses and no headers of the draft."""
    draft = Draft(server.url)
    headers = {**TUS, "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}
    answer = await draft.ask("POST", server.url, headers, b"abc")
    assert (answer.status, answer.interims) == (201, [])
    assert not {"upload-complete", "upload-limit", "upload-draft-interop-version"} & answer.headers.keys()


# Browsers


@pytest.mark.anyio
async def test_preflight_allows_the_draft(draft: Draft) -> None:
    """Preflights allow every method and header of the draft, and a page can read its responses and refusals."""
    names = "upload-draft-interop-version, upload-complete, upload-offset, upload-length, content-digest, repr-digest"
    headers = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": names}
    preflight = await draft.ask("OPTIONS", draft.endpoint, headers)
    assert {"PUT", "PATCH"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
    allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
    assert set(names.split(", ")) <= set(allowed)
    from_page = Draft(draft.endpoint, draft.version, ORIGIN)
    url = await from_page.made(3)
    for answer in (
        await from_page.create(b"abc"),
        await from_page.head(url),
        await from_page.append(url, 2, b"c"),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
        assert {name for name in answer.headers if name.startswith("upload-")} | {"location"} <= exposed


@pytest.mark.anyio
async def test_overridden_method(draft: Draft) -> None:
    """X-HTTP-Method-Override works in the draft too."""
    url = await draft.made(3)
    overridden = {**draft.patch(0, completes=True), "X-HTTP-Method-Override": "PATCH"}
    answer = await draft.ask("POST", url, overridden, b"abc")
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")


# Versions


def completeness(version: int, *, completes: bool) -> dict[str, str]:
    """The headers of a client of this version; version 3 has Upload-Incomplete instead of Upload-Complete."""
    word = ("Upload-Incomplete", not completes) if version == 3 else ("Upload-Complete", completes)
    return {"Upload-Draft-Interop-Version": str(version), word[0]: f"?{int(word[1])}"}


@pytest.mark.parametrize("version", range(3, 10))
@pytest.mark.anyio
async def test_every_version(server: RunningServer, version: int) -> None:
    """Like URLSession: one request with the whole body is cut, the offset is requested, the rest is appended."""
    draft = Draft(server.url, version)
    connection = await Connection.open(server.url)
    await connection.send_head(
        "POST",
        server.url,
        {**completeness(version, completes=True), "Content-Type": "image/png", "Content-Length": "6"},
    )
    first = await connection.answer(interim=True)
    assert (first.status, first.headers["upload-draft-interop-version"]) == (104, str(version))
    url = urljoin(server.url, first.headers["location"])
    await connection.send(b"abcd")
    await connection.end(half=True)
    state = await draft.head(url)
    state_headers = {
        name: state.headers.get(name) for name in ("upload-offset", "upload-complete", "upload-incomplete")
    }
    assert state_headers == {
        "upload-offset": "4",
        "upload-complete": None if version == 3 else "?0",
        "upload-incomplete": "?1" if version == 3 else None,
    }
    typed = {"Content-Type": "application/partial-upload"} if version > 5 else {}
    headers = {**completeness(version, completes=True), **typed, "Upload-Offset": "4"}
    last = await draft.ask("PATCH", url, headers, b"ef")
    assert last.status == 201
    assert last.headers["upload-incomplete" if version == 3 else "upload-complete"] == ("?0" if version == 3 else "?1")
    assert bool(last.progress) == (version > 4)
    assert server.stored(url) == b"abcdef"


# Settings


@pytest.mark.anyio
async def test_draft_switched_off_412(tmp_path: Path) -> None:
    """``uploads.ietf_draft = false``: headers of the draft are ignored, and no response has any."""
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
async def test_creation_with_upload_switched_off_501(tmp_path: Path) -> None:
    """``uploads.creation_with_upload = false``: a creation must have an empty body; without expiry no limit on age."""
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
async def test_idle_body_is_kept_503(tmp_path: Path) -> None:
    """R18: a client that stops sending is answered 503 with the offset and can continue."""
    server = start_server(tmp_path / "data", settings={"UPLOADS__BODY_IDLE_SECONDS": "0.3"})
    try:
        draft = Draft(server.url)
        connection = await Connection.open(server.url)
        await connection.send_head("POST", server.url, draft.creation(6, completes=True, content_length="6"))
        answer = await asyncio.wait_for(receive_responses(connection, b"abc"), 10)
        connection.close()
        assert (answer.status, answer.headers["upload-offset"]) == (503, "3")
        assert answer.headers["retry-after"]
        url = urljoin(server.url, answer.announced[0])
        assert (await draft.append(url, 3, b"def")).headers["upload-complete"] == "?1"
    finally:
        server.kill()
