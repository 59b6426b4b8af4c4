"""``TusEndpoint``: every step of an upload below a mount, metrics, failures as responses, hooks and shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from starlette.types import Message

from tests.support.virtual_time import VIRTUAL_TIME
from tests.support.waiting import eventually
from tests.unit.web.asgi import GONE, Incoming, Outgoing, ask, body, scope
from tests.unit.web.serving import MOUNTED, TUS, create, metric, patch_headers, request, serving
from tusd_py.contracts.store import BytesMoved
from tusd_py.model.hooks import Hook
from tusd_py.web.exchange import Exchange

pytestmark = pytest.mark.anyio


async def test_every_method_below_a_mount() -> None:
    """Location includes the path of the mount, every method works below it, and tusd's metrics count each step."""
    async with serving() as service:
        path = await create(service, b"abc", 6)
        headers = {"Upload-Offset": "3", "Content-Type": "application/offset+octet-stream"}
        assert (await request(service, "PATCH", path, headers, b"def")).headers["upload-offset"] == "6"
        assert (await request(service, "HEAD", path)).headers["upload-length"] == "6"
        download = await request(service, "GET", path)
        assert (download.status, download.body, download.is_over) == (200, b"abcdef", True)
        assert (await request(service, "DELETE", path)).status == 204
        assert (await request(service, "HEAD", path)).status == 404
        assert (await request(service, "OPTIONS", "/")).status == 204
        assert metric(service, 'tusd_requests_total{method="HEAD"}') == 2
        assert metric(service, 'tusd_errors_total{code="ERR_UPLOAD_NOT_FOUND",status="404"}') == 1
        assert metric(service, "tusd_bytes_received") == 6
        for name in ("created", "finished", "terminated"):
            assert metric(service, f"tusd_uploads_{name}") == 1
        assert metric(service, "tusd_connections_open") == 0


async def test_overridden_method_is_counted() -> None:
    """POST with X-HTTP-Method-Override: PATCH counts as PATCH; an unknown method (405) counts as other."""
    async with serving() as service:
        path = await create(service, b"abc", 6)
        headers = {
            "X-HTTP-Method-Override": "PATCH",
            "Upload-Offset": "3",
            "Content-Type": "application/offset+octet-stream",
        }
        assert (await request(service, "POST", path, headers, b"def")).status == 204
        assert (await request(service, "BREW", path)).status == 405
        assert metric(service, 'tusd_requests_total{method="PATCH"}') == 1
        assert metric(service, 'tusd_requests_total{method="other"}') == 1


async def test_refusal_has_cors_headers_409() -> None:
    """A refusal has CORS headers, or a browser reports a network error; a preflight lists the methods."""
    async with serving() as service:
        path = await create(service, b"abc", 6)
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


async def test_unexpected_exception_500(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is answered 500 with a code; its text is only logged."""

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


async def test_hook_gets_the_caller_and_its_failure_is_500() -> None:
    """A hook gets the target with its query, the peer and the method; if it fails, its text is not in the response."""
    seen: list[tuple[str, str, str]] = []

    def fail(event: object) -> None:
        caller = getattr(event, "caller", None)
        assert caller is not None
        seen.append((caller.remote_address, caller.method, caller.target))
        raise OSError("secret")

    async with serving({Hook.PRE_CREATE: fail}) as service:
        answer = await request(service, "POST", "/", {"Upload-Length": "1"}, query_string=b"a=b")
        assert (answer.status, b"secret" in answer.body) == (500, False)
        await request(service, "POST", "/", {"Upload-Length": "1"}, client=None, raw_path=None)
        assert seen == [("127.0.0.1:50000", "POST", "/files/?a=b"), ("", "POST", "/files/")]
        assert metric(service, 'tusd_hook_errors_total{hooktype="pre-create"}') == 2


@pytest.mark.parametrize("anyio_backend", [VIRTUAL_TIME], ids=["virtual time"])
async def test_shutdown_saves_and_answers_503() -> None:
    """At shutdown a running body is saved and answered 503 with Retry-After, and so is a body that comes later."""
    async with serving() as service:
        path = await create(service, b"abc", 10)
        out = Outgoing()
        head = scope("PATCH", MOUNTED + path, patch_headers(3, 7), root_path=MOUNTED)
        running = asyncio.ensure_future(service.endpoint(head, Incoming(body(b"def")), out))
        await eventually(lambda: len(service.active_bodies._bodies) == 1)
        service.active_bodies.drain()
        await running
        assert (out.status, out.headers["retry-after"], out.headers["upload-offset"]) == (503, "1", "6")
        late = Outgoing()
        head = scope("PATCH", MOUNTED + path, patch_headers(6, 4), root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"g")), late)
        assert (late.status, late.headers["upload-offset"]) == (503, "7")
        assert service.active_bodies._bodies == set()
        service.active_bodies.reopen()
        assert not service.active_bodies.is_draining


async def test_download_of_missing_bytes_is_refused() -> None:
    """If the stored bytes are missing, the client gets a refusal, never a status and a length without the bytes."""
    async with serving() as service:
        path = await create(service, b"abc")
        ports = await service.ports()
        upload = await ports.records.find(path.strip("/"))
        assert upload is not None
        await ports.store.delete(upload)
        out = Outgoing()
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"", more=False)), out)
        assert 410 == out.status


async def test_download_of_vanishing_bytes_is_aborted() -> None:
    """If bytes vanish after the head, the connection is broken: the client never gets a short but complete body."""
    async with serving() as service:
        path = await create(service, bytes(2**20))
        ports = await service.ports()
        upload = await ports.records.find(path.strip("/"))
        assert upload is not None
        out = Outgoing()
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)

        async def send(message: Message) -> None:
            await ports.store.delete(upload)
            await out(message)

        with pytest.raises(BytesMoved):
            await service.endpoint(head, Incoming(body(b"", more=False)), send)
        assert 200 == out.status and not out.is_over


async def test_disconnect_in_a_body_saves_what_arrived() -> None:
    """After a disconnect the received bytes are saved, and the refusal is sent; with and without a Content-Length."""
    async with serving() as service:
        path = await create(service, b"abc", 6)
        out = Outgoing()
        head = scope("PATCH", MOUNTED + path, patch_headers(3, 3), root_path=MOUNTED)
        await service.endpoint(head, Incoming(body(b"d"), GONE), out)
        # A middleware may need the response, though the client cannot read it.
        assert [400, True] == [out.status, out.is_over]
        assert (await request(service, "HEAD", path)).headers["upload-offset"] == "4"
        chunked = scope("PATCH", MOUNTED + path, {**TUS, "Upload-Offset": "4"}, root_path=MOUNTED)
        chunked["headers"] += [
            (b"transfer-encoding", b"chunked"),
            (b"content-type", b"application/offset+octet-stream"),
        ]
        await service.endpoint(chunked, Incoming(body(b"e"), GONE), out)
        assert (await request(service, "HEAD", path)).headers["upload-offset"] == "5"


async def test_refused_and_cut_requests_leave_no_cycles() -> None:
    """Their memory is free at once: the collector runs seldom, and a flood of them would keep what it took."""
    async with serving() as service:
        path = await create(service, b"abc", 6)

        async def cut() -> None:
            head = scope("PATCH", MOUNTED + path, patch_headers(3, 3), root_path=MOUNTED)
            await service.endpoint(head, Incoming(GONE), Outgoing())

        await cut()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                assert (await request(service, "HEAD", "/nothing")).status == 404
                assert (await request(service, "PATCH", path, patch_headers(6, 3))).status == 409
                await cut()
            before = sum(isinstance(each, Exchange) for each in gc.get_objects())
        finally:
            gc.enable()
        assert before == 0


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
async def test_log_names_the_client_alike_at_each_change(
    proxies: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Created, finished and terminated: the same address without a port, behind a trusted proxy the forwarded one."""
    caplog.set_level(logging.INFO, "tusd_py.uploads")
    async with serving(server={"trusted_proxies": proxies}) as service:
        forwarded = {"X-Forwarded-For": "192.0.2.7"}
        made = await request(service, "POST", "/", {"Upload-Length": "1", **forwarded})
        path = made.headers["location"].removeprefix(MOUNTED)
        headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", **forwarded}
        assert (await request(service, "PATCH", path, headers, b"a")).status == 204
        assert (await request(service, "DELETE", path, forwarded)).status == 204
    clients = [(record.message.split()[1], vars(record)["client"]) for record in caplog.records]
    client = "192.0.2.7" if proxies else "127.0.0.1"
    assert clients == [("created", client), ("finished", client), ("terminated", client)]
