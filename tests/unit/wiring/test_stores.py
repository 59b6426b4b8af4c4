"""Why a bucket cannot be written to: what ``tusd-py check`` says, and the server logs when it starts."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.command import isolate, run
from tests.support.s3_recorder import Asked, recording_s3
from tests.support.waiting import eventually
from tusd_py.service import Service
from tusd_py.settings import Settings
from tusd_py.wiring import stores

_NO_BUCKET = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>"

_DENIED = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


class OneAnswer(BaseHTTPRequestHandler):
    """Answers every PUT like the server's ``answer``, a status and a body; with status 0 not at all."""

    def do_PUT(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if status == 0:
            self.server.released.wait(30)  # type: ignore[attr-defined]
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


@contextmanager
def service(status: int, body: str = "") -> Iterator[tuple[str, list[str]]]:
    """An S3 service with one answer: its URL, and the paths that it was asked for."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), OneAnswer) as server:
        server.answer, server.asked, server.released = (status, body), asked, threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.released.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()


@contextmanager
def nothing_listens() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def environ(url: str) -> dict[str, str]:
    keys = {"S3__ACCESS_KEY": "key", "S3__SECRET_KEY": "hunter2", "S3__REGION": "us-east-1"}
    return {"STORAGE__KIND": "s3", "S3__BUCKET": "mine", "S3__ENDPOINT_URL": url, **keys}


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolates the test from the developer's configuration."""
    isolate(tmp_path, monkeypatch)


def test_check_writes_to_the_bucket() -> None:
    """It writes the empty object of ``/readyz``, and says nothing of the space on this disk."""
    with recording_s3() as recorder:
        result = run("check", "--port", "0", **environ(recorder.url), S3__PREFIX="a/")
    assert 0 == result.exit_code, result.output
    assert f"ok      the bucket mine at {recorder.url} can be written to" in result.output
    assert "/mine/a/probe" == recorder.asked[0].path
    assert "GiB are free" not in result.output


def test_check_names_what_the_service_lacks() -> None:
    """A warning with the consequence for each: the uploads themselves are stored."""

    def refuse(asked: Asked) -> tuple[int, str] | None:
        if "x-amz-copy-source" in asked.headers or "if-none-match" in asked.headers:
            return 501, "NotImplemented"
        return None

    more = {"S3__STORAGE_CLASS": "STANDARD_IA", "S3__ENCRYPTION": "AES256", "S3__TAGS": "a=b"}
    with recording_s3() as recorder:
        recorder.refuse = refuse
        result = run("check", "--port", "0", **environ(recorder.url), **more)
        settled = run(
            "check", "--port", "0", **environ(recorder.url), S3__COPY_PARTS="yes", S3__CONDITIONAL_WRITES="yes"
        )
    assert 0 == result.exit_code, result.output
    at = f"WARN    the bucket mine at {recorder.url}: it"
    for each in ("cannot copy parts", "has no conditional writes", "ignores s3.storage_class", "ignores s3.encryption"):
        assert f"{at} {each}" in result.output
    assert f"{at} ignores s3.tags" in result.output
    assert at not in settled.output
    deleted = [asked.path for asked in recorder.asked if asked.method == "DELETE"]
    assert len(set(deleted)) == 2, "the objects that tried it are removed"


def test_check_refuses_attributes_that_the_service_does_not_know() -> None:
    """Every upload would fail: it exits with 2."""

    def refuse(asked: Asked) -> tuple[int, str] | None:
        return (400, "InvalidStorageClass") if "x-amz-storage-class" in asked.headers else None

    with recording_s3() as recorder:
        recorder.refuse = refuse
        result = run("check", "--port", "0", **environ(recorder.url), S3__STORAGE_CLASS="SLOW")
    assert 2 == result.exit_code, result.output
    assert "objects with the attributes of [s3] are refused (S3 answered 400 InvalidStorageClass)" in result.output


def test_check_publishes_in_a_bucket() -> None:
    """It writes an object where uploads would be published, and removes it."""
    more = {"PUBLISHING__DIRECTORY": "s3://published/in/"}
    with recording_s3() as recorder:
        result = run("check", "--port", "0", **environ(recorder.url), **more)
        recorder.refuse = lambda asked: (404, "NoSuchBucket") if asked.path.startswith("/published/") else None
        refused = run("check", "--port", "0", **environ(recorder.url), **more)
    assert 0 == result.exit_code, result.output
    assert "ok      uploads are published in s3://published/in/" in result.output
    tried = [(asked.method, asked.path) for asked in recorder.asked if asked.path.startswith("/published/")][:2]
    assert [method for method, _ in tried] == ["PUT", "DELETE"]
    assert tried[0][1] == tried[1][1]
    assert tried[0][1] == "/published/in/.tusd-py-check"
    assert 2 == refused.exit_code, refused.output
    assert "NOT OK  nothing can be published in s3://published/in/: the bucket does not exist" in refused.output


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, _NO_BUCKET, "the bucket does not exist: create it, or change s3.bucket"),
        (403, _DENIED, "S3 answered 403 AccessDenied: the credentials lack the permission s3:PutObject for mine"),
        (404, "<html>Not here", "the answer is 404 without a code of S3: check s3.endpoint_url"),
    ],
)
def test_check_says_what_the_service_refuses(status: int, body: str, expected: str) -> None:
    """Each common mistake has a sentence that names the setting; it exits with 2."""
    with service(status, body) as (url, _):
        result = run("check", "--port", "0", **environ(url))
    assert 2 == result.exit_code, result.output
    assert f"NOT OK  the bucket mine at {url}: {expected}" in result.output


def test_check_names_a_service_that_is_not_there() -> None:
    """A refused connection exits with 2, and no key is printed."""
    with nothing_listens() as url:
        result = run("check", "--port", "0", **environ(url))
    assert 2 == result.exit_code, result.output
    assert f"NOT OK  the bucket mine at {url}: S3 cannot be reached" in result.output
    assert f"EndpointConnectionError at {url.removeprefix('http://')}" in result.output
    assert "hunter2" not in result.output


def test_check_does_not_wait_for_a_silent_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts the connection and never answers is reported after a bounded time."""
    monkeypatch.setattr(stores, "_PROBE_SECONDS", 1.5)
    with service(0) as (url, _):
        result = run("check", "--port", "0", **environ(url))
    assert 2 == result.exit_code, result.output
    assert "no answer within 1.5 seconds" in result.output


def test_check_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for S3 the line says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    result = run("check", "--port", "0", **environ("http://127.0.0.1:9"))
    assert 2 == result.exit_code, result.output
    assert 'NOT OK  S3 needs the extra s3: pip install "tusd-py[s3]"' in result.output


@pytest.mark.anyio
async def test_server_says_what_the_service_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once at its start, with the consequence."""
    with recording_s3() as recorder:
        recorder.refuse = lambda asked: (501, "NotImplemented") if "if-none-match" in asked.headers else None
        s3 = {"bucket": "mine", "endpoint_url": recorder.url, "region": "x", "access_key": "key", "secret_key": "s"}
        settings = Settings.model_validate({"storage": {"kind": "s3", "data_dir": str(tmp_path / "data")}, "s3": s3})
        running = Service(settings)
        await running.open()
        try:
            await eventually(lambda: "the object store lacks a function" in caplog.messages)
        finally:
            await running.close()
    [record] = [each for each in caplog.records if each.message == "the object store lacks a function"]
    assert vars(record)["advice"].startswith(f"the bucket mine at {recorder.url}: it has no conditional writes")


@pytest.mark.anyio
async def test_server_warns_of_its_bucket(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It starts all the same, since the service may come back."""
    with service(404, _NO_BUCKET) as (url, _):
        s3 = {"bucket": "mine", "endpoint_url": url, "region": "us-east-1", "access_key": "key", "secret_key": "s"}
        settings = Settings.model_validate({"storage": {"kind": "s3", "data_dir": str(tmp_path / "data")}, "s3": s3})
        running = Service(settings)
        await running.open()
        try:
            await eventually(lambda: "uploads cannot be stored" in caplog.messages)
        finally:
            await running.close()
    [record] = [each for each in caplog.records if each.message == "uploads cannot be stored"]
    assert (
        f"the bucket mine at {url}: the bucket does not exist: create it, or change s3.bucket" == vars(record)["advice"]
    )
