"""``Exchange``: request ids, log lines, refusals before the end of a body, and aborted downloads."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Message

from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, Outgoing, body, scope
from tests.unit.web.serving import MOUNTED, create, patch_headers, request, serving
from tusd_py.serving.http.extension import EXTENSION, ExtensionMethods
from tusd_py.web.exchange import Exchange
from tusd_py.web.metrics import ServerMetrics
from tusd_py.web.request_id import RequestIds
from tusd_py.web.response_body import SEND_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


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
async def test_request_id(sent: str, kept: bool) -> None:
    """A valid X-Request-ID is returned to the client; any other is replaced by one of ours."""
    async with serving() as service:
        answer = await request(service, "OPTIONS", "/", {"X-Request-ID": sent})
        returned = answer.headers["x-request-id"]
        assert (returned == sent) is kept
        assert len(returned) >= (1 if kept else 16)


async def test_log_line_has_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """A request is logged with its path, status and code, but without credentials, query or metadata."""
    async with serving() as service:
        secrets = {"Authorization": "Bearer s3cret", "Cookie": "s3cret", "Upload-Metadata": "s3cret czNjcmV0"}
        with caplog.at_level(logging.DEBUG, "tusd_py.requests"):
            await request(service, "POST", "/", {**secrets, "Upload-Length": "x"}, query_string=b"token=s3cret")
            await request(service, "OPTIONS", "/", {"X-Request-ID": "r1", **secrets}, query_string=b"token=s3cret")
        refused, granted = (vars(line) for line in caplog.records if line.name == "tusd_py.requests")
        assert (refused["status"], refused["code"]) == (400, "ERR_INVALID_UPLOAD_LENGTH")
        assert (granted["status"], granted["path"], granted["request_id"]) == (204, "/files/", "r1")
        assert (refused["levelname"], granted["levelname"]) == ("INFO", "DEBUG")
        assert ["POST '/files/' was answered 400 ERR_INVALID_UPLOAD_LENGTH", "OPTIONS '/files/' was answered 204"] == [
            line.getMessage() for line in caplog.records if line.name == "tusd_py.requests"
        ]
        for line in caplog.records:
            assert "s3cret" not in f"{vars(line)}"


class RecordingDict(dict[str, Any]):
    """A dictionary that records the keys it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.keys_read.add(key)
        return super().get(key, default)


async def test_reads_every_method_of_the_extension() -> None:
    """The keys that the exchange reads are those that our HTTP server offers: a misspelt one would only cost speed."""
    methods = RecordingDict()
    head = scope("PATCH", "/files/a", extensions={EXTENSION: methods})
    Exchange(head, Incoming(), Outgoing(), ServerMetrics(), RequestIds(), 60.0, 0.0)
    assert methods.keys_read == set(ExtensionMethods.__annotations__)


# Bodies that are not read to their end


async def test_refused_body_closes_an_http1_connection_409() -> None:
    """In HTTP/1 the connection is closed; in HTTP/2 and 3 there is no ``Connection`` header, the stream just ends."""
    async with serving() as service:
        path = MOUNTED + await create(service, b"abc", 6)
        for version, closed in (("1.1", True), ("2", False), ("3", False)):
            out = Outgoing()
            pieces = [body(bytes(256 * 1024)) for _ in range(8)]
            head = scope("PATCH", path, patch_headers(9, 10**9), root_path=MOUNTED, http_version=version)
            await service.endpoint(head, Incoming(*pieces), out)
            assert (out.status, out.is_over) == (409, True)
            assert ("connection" in out.headers) is closed


async def test_refused_body_with_expect_is_not_read_409() -> None:
    """With ``Expect: 100-continue`` no byte of a refused body is requested."""
    async with serving() as service:
        path = MOUNTED + await create(service, b"abc", 6)
        out, incoming = Outgoing(), Incoming(body(b"abc", more=False))
        head = scope("PATCH", path, {**patch_headers(9, 3), "Expect": "100-Continue"}, root_path=MOUNTED)
        await service.endpoint(head, incoming, out)
        assert (out.status, len(incoming.left)) == (409, 1)


# Downloads


class Stalled(Outgoing):
    """A client that takes nothing after ``count`` messages."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    async def __call__(self, message: Message) -> None:
        if len(self.messages) >= self._count:
            await asyncio.Event().wait()
        await super().__call__(message)


async def test_disconnect_ends_a_download() -> None:
    """ASGI servers accept what is sent to a disconnected client; the file is read no further all the same."""
    async with serving() as service:
        path = await create(service, bytes(4 * 1024 * 1024))
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


async def test_stalled_download_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    """After the idle time the connection is broken: the status was sent already, so there is no other way to say so."""
    async with serving(body_idle_seconds=30) as service:
        path = await create(service, bytes(4 * SEND_BYTES))
        head = scope("GET", MOUNTED + path, root_path=MOUNTED)
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await service.endpoint(head, Incoming(body(b"", more=False)), Stalled(2))
        assert asyncio.get_running_loop().time() - started_at == pytest.approx(30)
        assert "download aborted" in caplog.text
