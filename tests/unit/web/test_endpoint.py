"""The endpoint and its exchange: any ASGI server, whatever comes in, gets one answer; it is counted and logged once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message

from tests.support.loops import eventually, on_loop
from tests.unit.web.asgi import GONE, Incoming, Outgoing, ask, body, scope
from tusd_py.hooks.blocking.callables import HookFunction
from tusd_py.model.hooks import Hook
from tusd_py.service import Service
from tusd_py.settings import Settings
from tusd_py.web import early_response
from tusd_py.web.response_body import SEND_BYTES

TUS = {"Tus-Resumable": "1.0.0"}
MOUNTED = "/files"


@asynccontextmanager
async def serving(functions: dict[Hook, HookFunction] | None = None, **uploads: object) -> AsyncIterator[Service]:
    settings = Settings.model_validate(
        {"storage": {"kind": "memory"}, "records": {"url": "memory"}, "uploads": uploads}
    )
    service = Service(settings, functions)
    try:
        yield service
    finally:
        await service.close()


async def request(
    service: Service, method: str, path: str, headers: dict[str, str] | None = None, data: bytes = b"", **more: object
) -> Outgoing:
    return await ask(
        service.endpoint, method, MOUNTED + path, {**TUS, **(headers or {})}, data, root_path=MOUNTED, **more
    )


async def made(service: Service, content: bytes, length: int | None = None) -> str:
    headers = {"Upload-Length": str(length or len(content)), "Content-Type": "application/offset+octet-stream"}
    answer = await request(service, "POST", "/", headers, content)
    assert answer.status == 201, answer.body
    return answer.headers["location"].removeprefix(MOUNTED)


def count(service: Service, line: str) -> float:
    lines = service.metrics.exposition().decode().splitlines()
    return sum(float(found.rpartition(" ")[2]) for found in lines if found.startswith(line + " "))


@on_loop
async def test_a_whole_life_below_a_mount() -> None:
    """Location bears the mount's path; every step works below it, and each is counted under tusd's names."""
    async with serving() as service:
        path = await made(service, b"abc", 6)
        headers = {"Upload-Offset": "3", "Content-Type": "application/offset+octet-stream"}
        assert (await request(service, "PATCH", path, headers, b"def")).headers["upload-offset"] == "6"
        assert (await request(service, "HEAD", path)).headers["upload-length"] == "6"
        download = await request(service, "GET", path)
        assert (download.status, download.body, download.is_over) == (200, b"abcdef", True)
        assert (await request(service, "DELETE", path)).status == 204
        assert (await request(service, "HEAD", path)).status == 404
        assert (await request(service, "OPTIONS", "/")).status == 204
        assert count(service, 'tusd_requests_total{method="HEAD"}') == 2
        assert count(service, 'tusd_errors_total{code="ERR_UPLOAD_NOT_FOUND",status="404"}') == 1
        assert count(service, "tusd_bytes_received") == 6
        for name in ("created", "finished", "terminated"):
            assert count(service, f"tusd_uploads_{name}") == 1
        assert count(service, "tusd_connections_open") == 0


@on_loop
async def test_an_overridden_method_counts_as_itself() -> None:
    """POST that means PATCH; a method nobody knows is counted as other."""
    async with serving() as service:
        path = await made(service, b"abc", 6)
        headers = {
            "X-HTTP-Method-Override": "PATCH",
            "Upload-Offset": "3",
            "Content-Type": "application/offset+octet-stream",
        }
        assert (await request(service, "POST", path, headers, b"def")).status == 204
        assert (await request(service, "BREW", path)).status == 405
        assert count(service, 'tusd_requests_total{method="PATCH"}') == 1
        assert count(service, 'tusd_requests_total{method="other"}') == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abc-1._Z", True),
        ("a" * 36, True),
        ("a" * 37, False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
        ("", False),
    ],
)
@on_loop
async def test_request_ids(sent: str, kept: bool) -> None:
    """One that is safe to repeat is repeated; otherwise the request gets one of ours."""
    async with serving() as service:
        answer = await request(service, "OPTIONS", "/", {"X-Request-ID": sent})
        told = answer.headers["x-request-id"]
        assert (told == sent) is kept
        assert len(told) >= (1 if kept else 16)


@on_loop
async def test_logs_say_what_happened_and_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Path, status, code and bytes, but no credentials, queries or metadata."""
    async with serving() as service:
        secrets = {"Authorization": "Bearer s3cret", "Cookie": "s3cret", "Upload-Metadata": "s3cret czNjcmV0"}
        with caplog.at_level(logging.DEBUG, "tusd_py.requests"):
            await request(service, "POST", "/", {**secrets, "Upload-Length": "x"}, query_string=b"token=s3cret")
            await request(service, "OPTIONS", "/", {"X-Request-ID": "r1", **secrets}, query_string=b"token=s3cret")
        refused, granted = (vars(line) for line in caplog.records if line.name == "tusd_py.requests")
        assert (refused["status"], refused["code"]) == (400, "ERR_INVALID_UPLOAD_LENGTH")
        assert (granted["status"], granted["path"], granted["request_id"]) == (204, "/files/", "r1")
        assert (refused["levelname"], granted["levelname"]) == ("INFO", "DEBUG")
        for line in caplog.records:
            assert "s3cret" not in f"{vars(line)}"


@on_loop
async def test_refusals_can_be_read_from_other_origins() -> None:
    """A 409 without CORS headers is "network error" in a browser; a preflight is answered with what may be sent."""
    async with serving() as service:
        path = await made(service, b"abc", 6)
        headers = {"Origin": "https://app.example", "Upload-Offset": "9"}
        headers["Content-Type"] = "application/offset+octet-stream"
        refused = await request(service, "PATCH", path, headers)
        assert refused.status == 409
        assert refused.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-methods" not in refused.headers
        preflight = await request(
            service, "OPTIONS", path, {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}
        )
        assert "PATCH" in preflight.headers["access-control-allow-methods"]


@on_loop
async def test_a_bug_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    """500 with a code, the details in the log alone."""

    async def broken() -> None:
        raise ZeroDivisionError("secret")

    async with serving() as service:
        endpoint = type(service.endpoint)(
            **{name: getattr(service.endpoint, name) for name in service.endpoint.__slots__} | {"open": broken}
        )
        answer = await ask(endpoint, "OPTIONS", "/files/", TUS, root_path=MOUNTED)
        assert answer.status == 500
        assert b"ERR_INTERNAL_SERVER_ERROR" in answer.body
        assert b"secret" not in answer.body
        assert "ZeroDivisionError: secret" in caplog.text


@on_loop
async def test_hooks_are_told_of_the_request() -> None:
    """The real target with its query, the peer, the headers; a hook that fails is 500, its words in the log alone."""
    seen: list[tuple[str, str, str]] = []

    def ask_hook(event: object) -> None:
        caller = getattr(event, "caller", None)
        assert caller is not None
        seen.append((caller.remote_address, caller.method, caller.target))
        raise OSError("secret")

    async with serving({Hook.PRE_CREATE: ask_hook}) as service:
        answer = await request(service, "POST", "/", {"Upload-Length": "1"}, query_string=b"a=b")
        assert (answer.status, b"secret" in answer.body) == (500, False)
        await request(service, "POST", "/", {"Upload-Length": "1"}, client=None, raw_path=None)
        assert seen == [("127.0.0.1:50000", "POST", "/files/?a=b"), ("", "POST", "/files/")]
        assert count(service, 'tusd_hook_errors_total{hooktype="pre-create"}') == 2


# Bodies that are not read to their end


def patching(offset: int, length: int) -> dict[str, str]:
    return {
        **TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(length),
    }


@on_loop
async def test_refused_bodies_close_a_connection_but_not_a_stream() -> None:
    """HTTP/1 must not read for ever; HTTP/2 knows no ``Connection`` field and ends the stream itself."""
    async with serving() as service:
        path = MOUNTED + await made(service, b"abc", 6)
        for version, closed in (("1.1", True), ("2", False), ("3", False)):
            out = Outgoing()
            pieces = [body(bytes(256 * 1024)) for _ in range(8)]
            head = scope("PATCH", path, patching(9, 10**9), root_path=MOUNTED, http_version=version)
            await asyncio.wait_for(service.endpoint(head, Incoming(*pieces), out), 10)
            assert (out.status, out.is_over) == (409, True)
            assert ("connection" in out.headers) is closed


@on_loop
async def test_who_waits_to_go_ahead_is_refused_unread() -> None:
    """``Expect: 100-continue``: not one byte of a refused body is asked for."""
    async with serving() as service:
        path = MOUNTED + await made(service, b"abc", 6)
        out, incoming = Outgoing(), Incoming(body(b"abc", more=False))
        head = scope("PATCH", path, {**patching(9, 3), "Expect": "100-Continue"}, root_path=MOUNTED)
        await service.endpoint(head, incoming, out)
        assert (out.status, len(incoming.left)) == (409, 1)


@on_loop
async def test_nobody_is_answered_who_is_gone() -> None:
    """Cut in the middle: what came is kept, and nothing is sent."""
    async with serving() as service:
        path = await made(service, b"abc", 6)
        out = Outgoing()
        head = scope("PATCH", MOUNTED + path, patching(3, 3), root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"d"), GONE), out)
        assert out.messages == []
        assert (await request(service, "HEAD", path)).headers["upload-offset"] == "4"
        chunked = scope("PATCH", MOUNTED + path, {**TUS, "Upload-Offset": "4"}, root_path=MOUNTED)
        chunked["headers"] += [
            (b"transfer-encoding", b"chunked"),
            (b"content-type", b"application/offset+octet-stream"),
        ]
        await service.endpoint(chunked, Incoming(body(b"e"), GONE), out)
        assert (await request(service, "HEAD", path)).headers["upload-offset"] == "5"


@on_loop
async def test_shutting_down_saves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running body is told 503 and when to come back; one that comes later too; what came is kept."""
    monkeypatch.setattr(early_response, "_KEEP_SECONDS", 0.01)
    monkeypatch.setattr(early_response, "_LINGER_SECONDS", 0.01)
    async with serving() as service:
        path = await made(service, b"abc", 10)
        out = Outgoing()
        head = scope("PATCH", MOUNTED + path, patching(3, 7), root_path=MOUNTED)
        running = asyncio.ensure_future(service.endpoint(head, Incoming(body(b"def")), out))
        await eventually(lambda: len(service.active_bodies._bodies) == 1)
        service.active_bodies.drain()
        await running
        assert (out.status, out.headers["retry-after"], out.headers["upload-offset"]) == (503, "1", "6")
        late = Outgoing()
        head = scope("PATCH", MOUNTED + path, patching(6, 4), root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"g")), late)
        assert (late.status, late.headers["upload-offset"]) == (503, "7")
        assert service.active_bodies._bodies == set()
        service.active_bodies.reopen()
        assert not service.active_bodies.is_draining


# Downloads


class Slow(Outgoing):
    """A client that takes nothing after so many messages."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    async def __call__(self, message: Message) -> None:
        if len(self.messages) >= self.takes:
            await asyncio.Event().wait()
        await super().__call__(message)


@on_loop
async def test_a_reader_that_goes_away_ends_the_download() -> None:
    """Servers take what is sent to nobody without a word: the file is read no further."""
    async with serving() as service:
        path = await made(service, bytes(4 * 1024 * 1024))
        gone = asyncio.Event()

        class Leaving(Outgoing):
            async def __call__(self, message: Message) -> None:
                await super().__call__(message)
                gone.set()
                await asyncio.sleep(0)

        out = Leaving()
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"", more=False), gone, GONE), out)
        assert len(out.body) < 2 * 1024 * 1024
        assert not out.is_over


@on_loop
async def test_a_reader_that_takes_nothing_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After the idle time the connection is broken: the status has been sent, so nothing else can say it."""
    async with serving(body_idle_seconds=0.02) as service:
        path = await made(service, bytes(4 * SEND_BYTES))
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(service.endpoint(head, Incoming(body(b"", more=False)), Slow(2)), 5)
        assert "the download broke off" in caplog.text


@on_loop
async def test_bytes_that_are_gone_break_the_download(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody took the file away: a cut connection, never a short body that looks whole."""
    async with serving() as service:
        path = await made(service, b"abc")
        ports = await service.ports()
        upload = await ports.records.find(path.strip("/"))
        assert upload is not None
        await ports.store.delete(upload)
        out = Outgoing()
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)
        with pytest.raises(Exception, match="fewer bytes"):
            await service.endpoint(head, Incoming(body(b"", more=False)), out)
        assert not out.is_over
