"""Creations that are answered without a task: with the default settings, and with the same response as by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.tokens import SECRET, token
from tests.support.whole_requests import STREAM, TUS, Headers, Whole, begin, served
from tusd_py.commands.startup import prepare
from tusd_py.contracts.direct import OnDone, OnFound
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.records.sql.records import SqlRecords
from tusd_py.service import Service
from tusd_py.settings import Settings
from tusd_py.uploads.create_directly import concerned_parts, direct_creations
from tusd_py.web.direct_creations import RepeatedCreations

pytestmark = pytest.mark.anyio

LENGTH = (b"upload-length", b"5")
METADATA = (b"upload-metadata", b"filename YQ==")


async def test_default_settings_are_direct(tmp_path: Path) -> None:
    """With the default settings nothing stands in the way of a creation without a task.

    A new backend that concerns no creation is named in ``create_directly``.
    """
    settings = Settings(storage={"data_dir": str(tmp_path)})
    await asyncio.to_thread(prepare, settings)
    service = Service(settings)
    ports = await service.ports()
    try:
        assert [] == concerned_parts(ports)
        assert direct_creations(ports) is not None
    finally:
        await service.close()


def without_ids(headers: Headers) -> Headers:
    """Names in order, with the values that are the same for each upload of one second or two."""
    own = {b"location", b"x-request-id", b"upload-expires"}
    return [(name, b"" if name in own else value) for name, value in headers]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((TUS, LENGTH, METADATA), b""),
        ((TUS, LENGTH, STREAM), b"01234"),
        ((TUS, LENGTH, STREAM), b"012"),
        ((TUS, LENGTH, (b"origin", b"https://example.com"), (b"x-request-id", b"mine")), b""),
    ],
)
async def test_same_response_as_by_a_task(tmp_path: Path, headers: Headers, body: bytes) -> None:
    """With the default settings: the URL, offset, expiry, CORS and request id; with and without the last slash."""
    async with served(tmp_path) as app:
        direct, ordinary = (Whole(*headers, body=body, path=path) for path in ("/files", "/files/"))
        assert begin(app, direct)
        await direct.answered.wait()
        await ordinary.by_task(app)
        assert (201, []) == (direct.status, direct.ran)
        assert 201 == ordinary.status
        assert without_ids(ordinary.response_headers) == without_ids(direct.response_headers)
        urls = {dict(each.response_headers)[b"location"].rpartition(b"/")[0] for each in (direct, ordinary)}
        # A browser resolves a path itself.
        assert {b"/files" if (b"origin", b"https://example.com") in headers else b"http://127.0.0.1:8080/files"} == urls
        inspected = Whole(
            TUS, path="/files/" + dict(direct.response_headers)[b"location"].decode().rpartition("/")[2], method="HEAD"
        )
        await inspected.by_task(app)
        assert (b"upload-offset", b"%d" % len(body)) in inspected.response_headers


def begin_repeated(repeated: Any, whole: Whole, values: list[str]) -> bool:
    is_begun: bool = repeated.begin(whole, whole.run, values)
    return is_begun


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        ((TUS, LENGTH, METADATA), ["7", "filename Yg==,filetype YQ=="]),
        ((TUS, LENGTH, METADATA, (b"origin", b"https://example.com")), ["7", "filename"]),
        ((TUS, LENGTH, METADATA, (b"x-request-id", b"mine")), ["7", "filename Yg==", "other"]),
        ((TUS, LENGTH, METADATA, (b"x-request-id", b"mine")), ["7", "filename Yg==", "not valid"]),
    ],
)
async def test_repeated_creation_is_as_any_other(tmp_path: Path, headers: Headers, values: list[str]) -> None:
    """A creation whose head is like that of an earlier one has the same record and the same response as by a task."""
    async with served(tmp_path) as app:
        first = Whole(*headers)
        repeated: Any = app.begin_directly(first, first.run)  # type: ignore[attr-defined]  # set for our HTTP server
        assert isinstance(repeated, RepeatedCreations)
        await first.answered.wait()
        replaced = dict(zip(repeated.names, map(str.encode, values), strict=True))
        like = [(name, replaced.get(name, value)) for name, value in headers]
        direct, ordinary = Whole(*like), Whole(*like)
        assert begin_repeated(repeated, direct, values)
        await direct.answered.wait()
        await ordinary.by_task(app)
        assert (201, []) == (direct.status, direct.ran)
        assert without_ids(ordinary.response_headers) == without_ids(direct.response_headers)
        ids = [dict(each.response_headers)[b"x-request-id"] for each in (direct, ordinary)]
        assert (ids[0] == ids[1]) == (b"other" in ids)
        inspected = []
        for each in (direct, ordinary):
            path = "/files/" + dict(each.response_headers)[b"location"].decode().rpartition("/")[2]
            inspected.append(Whole(TUS, path=path, method="HEAD"))
            await inspected[-1].by_task(app)
        assert without_ids(inspected[0].response_headers) == without_ids(inspected[1].response_headers)
        assert (b"upload-length", b"7") in inspected[0].response_headers


@pytest.mark.parametrize(
    "values", [["-1", "filename"], ["0", "filename"], ["1", "a b c"], ["1", "name " + "YQ==" * 3000], ["1", "a,a"]]
)
async def test_other_repeated_creations_are_left_to_the_endpoint(tmp_path: Path, values: list[str]) -> None:
    """Invalid and empty values are not begun, nor anything after the server has closed its backends."""
    async with served(tmp_path) as app:
        first = Whole(TUS, LENGTH, METADATA)
        repeated: Any = app.begin_directly(first, first.run)  # type: ignore[attr-defined]  # set for our HTTP server
        assert isinstance(repeated, RepeatedCreations)
        await first.answered.wait()
        whole = Whole(TUS, LENGTH, METADATA)
        assert not begin_repeated(repeated, whole, values)
    assert not begin_repeated(repeated, whole, ["1", "filename"])


@pytest.mark.parametrize(
    "whole",
    [
        ({"method": "PATCH"}, (TUS, LENGTH)),
        ({"path": "/files/abc"}, (TUS, LENGTH)),
        ({"path": "/other"}, (TUS, LENGTH)),
        ({"root_path": "/mount"}, (TUS, LENGTH)),
        ({}, (LENGTH,)),
        ({}, ((b"tus-resumable", b"0.2.2"), LENGTH)),
        ({}, (TUS, LENGTH, (b"x-http-method-override", b"PATCH"))),
        ({}, (TUS, LENGTH, (b"upload-draft-interop-version", b"8"))),
        ({}, (TUS, LENGTH, (b"upload-concat", b"partial"))),
        ({}, (TUS, LENGTH, (b"upload-metadata", b"a b c"))),
        ({}, (TUS, (b"upload-length", b"-1"))),
        ({"client": None}, (TUS, LENGTH)),
        ({"body": b"form"}, (TUS, LENGTH)),
    ],
)
async def test_other_requests_are_left_to_the_endpoint(tmp_path: Path, whole: tuple[dict[str, Any], Headers]) -> None:
    """Other methods, paths and protocols, invalid headers, unknown clients, and bodies that are no upload."""
    fields, headers = whole
    async with served(tmp_path) as app:
        assert not begin(app, Whole(*headers, **fields))


@pytest.mark.parametrize(
    "sections",
    [
        {"access": {"anonymous": "none"}, "jwt": {"secret": "s" * 32}},
        {"server": {"download_url": "https://files.example/files/"}},
        {"webhooks": {"endpoints": [{"name": "a", "url": "https://example.com/a", "events": ["post-finish"]}]}},
    ],
)
async def test_unusual_settings_are_left_to_the_endpoint(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Without credentials where they are needed, and with a separate origin of downloads or receivers of events."""
    async with served(tmp_path, **sections) as app:
        assert not begin(app, Whole(TUS, LENGTH))


async def test_response_that_cannot_be_sent_at_once(tmp_path: Path) -> None:
    """A task sends the response to a client that reads slowly; the upload is created once."""
    async with served(tmp_path) as app:
        whole = Whole(TUS, LENGTH)
        whole.can_respond = False
        assert begin(app, whole)
        await whole.answered.wait()
        (application,) = whole.ran
        await whole.by_task(application)
        assert 201 == whole.status
        assert dict(whole.response_headers)[b"location"].startswith(b"http://127.0.0.1:8080/files/")


@pytest.mark.parametrize("is_gone", [False, True])
async def test_failed_creation_of_a_client_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    """The endpoint gets a request whose creation failed, unless its client is gone: a stop may not wait for that."""
    failed = asyncio.Event()

    def begin_insert(records: SqlRecords, upload: object, effects: object, on_done: OnDone) -> None:
        def fail() -> None:
            on_done(RecordsUnavailable("down"))
            failed.set()

        asyncio.get_running_loop().call_soon(fail)

    async with served(tmp_path) as app:
        monkeypatch.setattr(SqlRecords, "begin_insert", begin_insert)
        whole = Whole(TUS, LENGTH)
        assert begin(app, whole)
        whole.disconnected = is_gone
        await failed.wait()
        assert ([] if is_gone else [None]) == whole.ran


async def test_stop_waits_for_creations(tmp_path: Path) -> None:
    """A creation whose client is gone, and which no task represents, is recorded before the backends are closed."""
    async with served(tmp_path) as app:
        whole = Whole(TUS, LENGTH, STREAM, body=b"01234")
        assert begin(app, whole)
        whole.disconnected = True
        whole.can_respond = False
    assert whole.answered.is_set()
    assert [None] != whole.ran
    async with served(tmp_path) as app:
        (stored,) = [path.name for path in (tmp_path / "uploads").iterdir() if len(path.name) == 32]
        inspected = Whole(TUS, path=f"/files/{stored}", method="HEAD")
        await inspected.by_task(app)
        assert 200 == inspected.status


SECRETS = {"secret": SECRET}
CLOSED: dict[str, Any] = {"access": {"anonymous": "none"}, "jwt": SECRETS}
OPEN: dict[str, Any] = {"access": {"anonymous": "all"}, "jwt": SECRETS}


def authorization(text: str) -> tuple[bytes, bytes]:
    return b"authorization", text.encode()


def by(subject: str, **claims: Any) -> tuple[bytes, bytes]:
    return authorization(f"Bearer {token(subject, **claims)}")


async def answered(app: Any, whole: Whole) -> Whole:
    """The request, answered without a task as far as it can be."""
    if not begin(app, whole):
        await whole.by_task(app)
        return whole
    await whole.answered.wait()
    if whole.ran:
        await whole.by_task(whole.ran[0] or app)
    return whole


def path_of(whole: Whole) -> str:
    return "/files/" + dict(whole.response_headers)[b"location"].decode().rpartition("/")[2]


async def test_token_that_was_seen_before_is_direct(tmp_path: Path) -> None:
    """A task verifies a token; requests with it are then direct, with the same response and owner."""
    ada = by("ada")
    async with served(tmp_path, **CLOSED) as app:
        first, second = Whole(TUS, LENGTH, ada), Whole(TUS, LENGTH, ada)
        assert not begin(app, first)
        await first.by_task(app)
        assert begin(app, second)
        await second.answered.wait()
        assert (201, []) == (second.status, second.ran)
        assert without_ids(first.response_headers) == without_ids(second.response_headers)
        for whole in (first, second):
            inspected = Whole(TUS, ada, path=path_of(whole), method="HEAD")
            assert begin(app, inspected)
            await inspected.answered.wait()
            assert (200, []) == (inspected.status, inspected.ran)
            foreign = Whole(TUS, by("bob"), path=path_of(whole), method="HEAD")
            await foreign.by_task(app)
            assert 404 == foreign.status


async def test_change_after_a_creation_reads_the_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The creator is known as a writer; another user's request looks first whether the upload is theirs."""
    found: list[str] = []
    begin_find = SqlRecords.begin_find

    def counting(records: SqlRecords, upload_id: str, on_found: OnFound) -> None:
        found.append(upload_id)
        begin_find(records, upload_id, on_found)

    monkeypatch.setattr(SqlRecords, "begin_find", counting)
    ada, bob = by("ada"), by("bob")
    async with served(tmp_path, **CLOSED) as app:
        for user in (ada, bob):
            await Whole(TUS, LENGTH, user).by_task(app)  # the token is verified
        created = await answered(app, Whole(TUS, LENGTH, ada))
        foreign = Whole(TUS, bob, (b"upload-offset", b"0"), STREAM, body=b"012", path=path_of(created), method="PATCH")
        assert 404 == (await answered(app, foreign)).status
        found.clear()
        appended = Whole(TUS, ada, (b"upload-offset", b"0"), STREAM, body=b"012", path=path_of(created), method="PATCH")
        assert 204 == (await answered(app, appended)).status
        assert 1 == len(found)
        assert 204 == (await answered(app, Whole(TUS, ada, path=path_of(created), method="DELETE"))).status
        assert 2 == len(found)


async def test_anonymous_clients(tmp_path: Path) -> None:
    """They are direct where they are allowed, and refused by the endpoint where they are not."""
    async with served(tmp_path / "open", **OPEN) as app:
        created = Whole(TUS, LENGTH)
        assert begin(app, created)
        await created.answered.wait()
        assert 201 == created.status
        inspected = Whole(TUS, path=path_of(created), method="HEAD")
        assert begin(app, inspected)
        await inspected.answered.wait()
        assert 200 == inspected.status
    async with served(tmp_path / "closed", **CLOSED) as app:
        refused = Whole(TUS, LENGTH)
        assert not begin(app, refused)
        await refused.by_task(app)
        assert 401 == refused.status


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, (authorization("Bearer "),)),
        ({}, (authorization("Bearer nonsense"),)),
        ({}, (authorization("Basic YTpi"),)),
        ({}, (by("ada", key="another secret of 32 bytes or more"),)),
        ({}, (by("ada", seconds=-100),)),
        ({}, (by("ada"), by("ada"))),
        ({}, ((b"cookie", b"session=x"),)),
        ({"query_string": b"link=x"}, ()),
    ],
)
async def test_other_credentials_are_left_to_the_endpoint(
    tmp_path: Path, fields: dict[str, Any], headers: Headers
) -> None:
    """Unknown, forged and expired tokens, two of them, other schemes, cookies and signatures, whatever is repeated."""
    async with served(tmp_path, access={"anonymous": "all"}, jwt={"secret": SECRET, "cookie": "session"}) as app:
        for _ in range(2):
            for method, path in (("POST", "/files/"), ("HEAD", "/files/" + "a" * 32)):
                whole = Whole(TUS, LENGTH, *headers, method=method, path=path, **fields)
                assert not begin(app, whole)
                await whole.by_task(app)


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
async def test_foreign_and_unknown_uploads_are_indistinguishable_404(tmp_path: Path, method: str) -> None:
    """With a token that was seen before: the responses are equal but for the request id, and nothing has changed."""
    ada, bob = by("ada"), by("bob")
    headers = ((b"upload-offset", b"0"), STREAM) if method == "PATCH" else ()
    async with served(tmp_path, **CLOSED) as app:
        await answered(app, Whole(TUS, LENGTH, bob))
        path = path_of(await answered(app, Whole(TUS, LENGTH, ada)))
        await answered(app, Whole(TUS, ada, path=path, method="HEAD"))
        refused = []
        for each in (path, "/files/" + "a" * 32):
            whole = Whole(TUS, bob, *headers, body=b"xx" if headers else b"", path=each, method=method)
            assert begin(app, whole)
            await whole.answered.wait()
            assert [None] == whole.ran
            await whole.by_task(app)
            refused.append((whole.status, without_ids(whole.response_headers)))
        assert refused[0] == refused[1]
        assert 404 == refused[0][0]
        inspected = await answered(app, Whole(TUS, ada, path=path, method="HEAD"))
        assert (200, b"0") == (inspected.status, dict(inspected.response_headers)[b"upload-offset"])


async def test_quota_that_is_used_up_413(tmp_path: Path) -> None:
    """The endpoint refuses the creation, which counts once towards the rate, and nothing of it stays."""
    sections = {**CLOSED, "quotas": {"enabled": True, "bytes_per_day": 12}, "rates": {"creations_per_minute": 4}}
    ada = by("ada")
    async with served(tmp_path, **sections) as app:
        statuses = []
        for number in range(6):
            body = b"01234" if number % 2 else b""
            type_ = (STREAM,) if body else ()
            statuses.append((await answered(app, Whole(TUS, LENGTH, ada, *type_, body=body))).status)
        assert [201, 201, 413, 413, 429, 429] == statuses
    stored = [path for path in (tmp_path / "uploads").iterdir() if len(path.name) == 32]
    assert 1 == len(stored)
