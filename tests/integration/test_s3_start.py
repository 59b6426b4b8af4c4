"""The start of a server with S3: killed in the middle of its trial, and with an S3 that hangs, refuses or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import create, patch_headers, request
from tests.support.command import isolate, run
from tests.support.ports import free_port
from tests.support.s3 import S3Server, running_s3
from tests.support.s3_faults import S3Faults, S3Mode
from tests.support.s3_proxy import Break, s3_proxy
from tests.support.server import start_server
from tests.support.stacks import as_settings
from tests.support.waiting import eventually
from tusd_py.contracts.object_list import ObjectList
from tusd_py.storage.s3.layout import PROBE_AGE
from tusd_py.uploads.abandoned import find_abandoned, remove_abandoned
from tusd_py.uploads.leftovers import remove_leftovers
from tusd_py.wiring.clock import utc_now
from tusd_py.wiring.ports import opened_ports

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.anyio]

BUCKET = "uploads"
#: The requests of a trial, in order.
TRIAL = (
    "PutObject",
    "HeadObject",
    "CreateMultipartUpload",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "DeleteObject",
)
#: For a machine that is busy.
MARGIN_SECONDS = 40
NONCE = "0123456789abcdef"
#: Of other programs that use the bucket.
OTHERS = {"tails/probe", f"tails/probe{NONCE}/x", "tails/others", "uploads/others/x", "others"}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as running:
        yield running


def all_keys(client: Any, bucket: str) -> set[str]:
    """The objects and multipart uploads in the bucket, without the object that each start writes."""
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    listed += client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return {each["Key"] for each in listed} - {"probe", "tusd-py.mark"}


@pytest.mark.parametrize("remover", [remove_abandoned, remove_leftovers])
@pytest.mark.parametrize("number", range(len(TRIAL)), ids=TRIAL)
async def test_kill_within_the_trial(s3: S3Server, tmp_path: Path, number: int, remover: Any) -> None:
    """``kill -9`` at each request, which arrives all the same: the maintenance finds all of it, and nothing else."""
    client, bucket = s3.client(), f"{TRIAL[number].lower()}-{remover.__name__.replace('_', '-')}"
    client.create_bucket(Bucket=bucket)
    for key in OTHERS:
        client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
        client.create_multipart_upload(Bucket=bucket, Key=f"{key}.multipart")
    others = all_keys(client, bucket)
    assert len(others) == 2 * len(OTHERS)
    settings = s3.settings(bucket)
    async with s3_proxy(s3.port) as proxy:
        proxy.breaks("Trial", Break.NONE, number)
        proxy.breaks("Trial", Break.HELD)
        through = {**settings, "S3__ENDPOINT_URL": proxy.url}
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=through)
        try:
            await eventually(lambda: bool(proxy.broken), "the request is held", 60)
            assert proxy.broken == [TRIAL[number]]
        finally:
            server.kill()
        proxy.release()
        await proxy.settle()
    left = all_keys(client, bucket) - others
    assert bool(left) == (TRIAL[number] != "DeleteObject")
    async with opened_ports(as_settings(tmp_path / "data", settings)) as ports:
        now = utc_now()
        assert not await remover(ports, now), "too young"
        later = now + PROBE_AGE + PROBE_AGE
        assert isinstance(ports.store, ObjectList)
        found = [each async for each in find_abandoned(ports, ports.store, later, removes=False)]
        assert {each.stored.key for each in found} == left
        assert bool(await remover(ports, later)) == bool(left)
    assert all_keys(client, bucket) == others


@asynccontextmanager
async def failing_s3(how: str) -> AsyncIterator[S3Faults]:
    """An S3 that does not answer, is not there, or answers 503."""
    faults = S3Faults(0)
    if how == "refused":
        faults.port = free_port()
        yield faults
        return
    async with faults:
        faults.set(S3Mode(how))
        yield faults


def settings_of(url: str, **more: str) -> dict[str, str]:
    return {
        "STORAGE__KIND": "s3",
        "S3__BUCKET": BUCKET,
        "S3__ENDPOINT_URL": url,
        "S3__REGION": "us-east-1",
        "S3__ACCESS_KEY": "key",
        "S3__SECRET_KEY": "secret",
        **more,
    }


FAILURES = ("hang", "503", "refused")


@pytest.mark.parametrize("how", FAILURES)
async def test_start_without_s3_answers_503(tmp_path: Path, how: str) -> None:
    """The server starts, says in its log and in /readyz what is wrong, and answers uploads 503 with Retry-After."""
    async with failing_s3(how) as faults:
        settings = settings_of(faults.url, S3__TIMEOUT_SECONDS="1")
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
        try:
            assert (await request("GET", f"{server.root}/healthz")).status == 200
            ready = await request("GET", f"{server.root}/readyz")
            assert (ready.status, b'"storage":"ok"' in ready.body) == (503, False)
            upload = await create(server.url, 10)
            answer = await request("PATCH", upload, patch_headers(0), b"0123456789")
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert (await request("HEAD", upload)).offset == 0
            await eventually(lambda: "uploads cannot be stored" in server.log.read_text(), "the log says so", 60)
            assert f"the bucket {BUCKET} at {faults.url}" in server.log.read_text()
            assert "Traceback" not in server.log.read_text()
            assert await asyncio.to_thread(server.stop, 60) == 0
        finally:
            server.kill()


@pytest.mark.parametrize("length", [10, 20])
async def test_stop_while_s3_hangs(tmp_path: Path, length: int) -> None:
    """A request that waits for S3 holds up the stop by a bounded time (docs/operations.md); the trial does not."""
    async with failing_s3("hang") as faults:
        settings = settings_of(faults.url, SERVER__SHUTDOWN_TIMEOUT_SECONDS="2")
        server = await asyncio.to_thread(start_server, tmp_path / "data", settings=settings)
        try:
            upload = await create(server.url, length)
            sending = asyncio.ensure_future(request("PATCH", upload, patch_headers(0), b"0123456789"))
            # Both wait for the mark of the bucket.
            await eventually(lambda: faults.struck >= 1, "the trial and the request wait for S3", 60)
            assert await asyncio.to_thread(server.stop, 2 + 15 + MARGIN_SECONDS) == 0
            # Nothing is answered if S3 has not answered: the client tries again.
            with suppress(ConnectionError):
                assert (await sending).status == 503
            assert "Traceback" not in server.log.read_text()
        finally:
            server.kill()


@pytest.mark.parametrize("how", FAILURES)
async def test_check_without_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Exit code 2 and a sentence, in bounded time."""
    isolate(tmp_path, monkeypatch)
    async with failing_s3(how) as faults:
        result = await asyncio.to_thread(run, "check", "--port", "0", **settings_of(faults.url))
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.output.splitlines() if "NOT OK" in line]
    assert f"the bucket {BUCKET} at {faults.url}" in line
