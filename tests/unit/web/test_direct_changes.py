"""HEAD, PATCH and DELETE that are answered without a task: the same responses as by one, with the default settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from tests.support.whole_requests import STREAM, TUS, Headers, Whole, begin, served
from tusd_py.contracts.direct import OnDone
from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.records.sql.records import SqlRecords
from tusd_py.storage.disk.store import DiskStore

pytestmark = pytest.mark.anyio

ORIGIN = (b"origin", b"https://example.com")


def offset(value: int) -> tuple[bytes, bytes]:
    return b"upload-offset", b"%d" % value


async def created(app: Starlette, length: int = 5) -> str:
    """The path of a new upload."""
    whole = Whole(TUS, (b"upload-length", b"%d" % length))
    await whole.by_task(app)
    return "/files/" + dict(whole.response_headers)[b"location"].decode().rpartition("/")[2]


def without_ids(headers: Headers) -> Headers:
    own = {b"x-request-id", b"upload-expires", b"etag", b"last-modified"}
    return [(name, b"" if name in own else value) for name, value in headers]


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        ("HEAD", (), b"", 200),
        ("HEAD", (ORIGIN, (b"x-request-id", b"mine")), b"", 200),
        ("PATCH", (offset(0), STREAM), b"012", 204),
        ("PATCH", (offset(0), STREAM, ORIGIN), b"01234", 204),
        ("DELETE", (), b"", 204),
    ],
)
async def test_same_response_as_by_a_task(
    tmp_path: Path, method: str, headers: Headers, body: bytes, status: int
) -> None:
    """Status, offset, expiry, CORS and request id; and HEAD by a task finds the same state."""
    async with served(tmp_path) as app:
        states = []
        for is_direct in (True, False):
            path = await created(app)
            whole = Whole(TUS, *headers, body=body, path=path, method=method)
            if is_direct:
                assert begin(app, whole)
                await whole.answered.wait()
            else:
                await whole.by_task(app)
            assert (status, []) == (whole.status, whole.ran)
            inspected = Whole(TUS, path=path, method="HEAD")
            await inspected.by_task(app)
            states.append(
                (without_ids(whole.response_headers), inspected.status, without_ids(inspected.response_headers))
            )
        assert states[0] == states[1]


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"method": "GET"}, (TUS,)),
        ({"method": "OPTIONS"}, (TUS,)),
        ({"path": "/other/abc"}, (TUS,)),
        ({"path": "/files/"}, (TUS,)),
        ({"root_path": "/mount"}, (TUS,)),
        ({}, ()),
        ({}, ((b"tus-resumable", b"0.2.2"),)),
        ({}, (TUS, (b"x-http-method-override", b"PATCH"))),
        ({"method": "PATCH"}, (TUS, (b"upload-offset", b"-1"), STREAM)),
        ({"method": "PATCH", "body": b"x"}, (TUS, offset(0), STREAM, (b"upload-checksum", b"sha1 eA=="))),
        ({"method": "DELETE", "body": b"x"}, (TUS,)),
    ],
)
async def test_other_requests_are_left_to_the_endpoint(
    tmp_path: Path, fields: dict[str, Any], headers: Headers
) -> None:
    """Other methods, paths and protocols, invalid headers, checksums, and bodies that are no upload."""
    async with served(tmp_path) as app:
        arguments = {"path": await created(app), "method": "HEAD", **fields}
        assert not begin(app, Whole(*headers, **arguments))


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
        assert not begin(app, Whole(TUS, path="/files/" + "a" * 32, method="HEAD"))


async def test_refused_request_is_answered_by_a_task(tmp_path: Path) -> None:
    """An unknown upload and a wrong offset begin, and the endpoint answers them."""
    async with served(tmp_path) as app:
        unknown = Whole(TUS, path="/files/" + "a" * 32, method="HEAD")
        wrong = Whole(TUS, offset(1), STREAM, body=b"x", path=await created(app), method="PATCH")
        for whole, status in ((unknown, 404), (wrong, 409)):
            assert begin(app, whole)
            await whole.answered.wait()
            assert [None] == whole.ran
            await whole.by_task(app)
            assert status == whole.status


async def test_response_that_cannot_be_sent_at_once(tmp_path: Path) -> None:
    """A task sends the response to a client that reads slowly; the bytes are stored once."""
    async with served(tmp_path) as app:
        whole = Whole(TUS, offset(0), STREAM, body=b"012", path=await created(app), method="PATCH")
        whole.can_respond = False
        assert begin(app, whole)
        await whole.answered.wait()
        (application,) = whole.ran
        await whole.by_task(application)
        assert (204, b"3") == (whole.status, dict(whole.response_headers)[b"upload-offset"])


async def test_failed_deletion_is_answered_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload has ended, so that a repetition by the endpoint would be answered 404."""

    def begin_delete(store: DiskStore, upload: object, on_done: OnDone) -> None:
        asyncio.get_running_loop().call_soon(on_done, StoreUnavailable("down"))

    async with served(tmp_path) as app:
        monkeypatch.setattr(DiskStore, "begin_delete", begin_delete)
        whole = Whole(TUS, path=await created(app), method="DELETE")
        assert begin(app, whole)
        await whole.answered.wait()
        if whole.ran:
            await whole.by_task(whole.ran[0])
        assert 503 == whole.status


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
async def test_failed_request_of_a_client_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The endpoint gets the bytes that have arrived, although the client does not read the response."""
    failed = asyncio.Event()

    def begin_find(records: SqlRecords, upload_id: str, on_found: Any) -> None:
        def fail() -> None:
            on_found(None, RecordsUnavailable("down"))
            failed.set()

        asyncio.get_running_loop().call_soon(fail)

    async with served(tmp_path) as app:
        path = await created(app)
        monkeypatch.setattr(SqlRecords, "begin_find", begin_find)
        headers = (offset(0), STREAM) if method == "PATCH" else ()
        whole = Whole(TUS, *headers, body=b"012" if headers else b"", path=path, method=method)
        assert begin(app, whole)
        whole.disconnected = True
        await failed.wait()
        assert ([None] if headers else []) == whole.ran


async def test_stop_waits_for_changes(tmp_path: Path) -> None:
    """Bytes whose client is gone, and which no task represents, are recorded before the backends are closed."""
    async with served(tmp_path) as app:
        path = await created(app)
        whole = Whole(TUS, offset(0), STREAM, body=b"012", path=path, method="PATCH")
        assert begin(app, whole)
        whole.disconnected = True
    async with served(tmp_path) as app:
        inspected = Whole(TUS, path=path, method="HEAD")
        await inspected.by_task(app)
        assert b"3" == dict(inspected.response_headers)[b"upload-offset"]


async def test_deletions_of_unknown_uploads_wait_for_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one that found nothing the next ones look first, until some have found their upload."""
    in_one_step = []
    begin_transition = SqlRecords.begin_transition

    def counting(records: SqlRecords, upload_id: str, *arguments: Any, durable: bool) -> bool:
        in_one_step.append(upload_id)
        return begin_transition(records, upload_id, *arguments, durable=durable)

    monkeypatch.setattr(SqlRecords, "begin_transition", counting)
    async with served(tmp_path) as app:

        async def deleted(path: str) -> int:
            whole = Whole(TUS, path=path, method="DELETE")
            assert begin(app, whole)
            await whole.answered.wait()
            if whole.ran:
                await whole.by_task(app)
            return whole.status

        assert 204 == await deleted(await created(app))
        for number in range(20):
            assert 404 == await deleted(f"/files/{number:032x}")
        assert 2 == len(in_one_step)
        for _ in range(18):
            assert 204 == await deleted(await created(app))
        assert 4 == len(in_one_step)
