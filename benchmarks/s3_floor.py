"""The least that an upload to S3 takes in Python: a multipart upload by aiobotocore, alone and behind HTTP.

Run as a program with the address of an S3 service, this is a trivial ASGI application on the server that tusd-py uses
(uvicorn with uvloop and httptools). It receives the body of a PATCH and passes it on to the multipart upload, with the
configuration, the parts and the parallelism of tusd-py. It parses no header, keeps no record, checks no byte and
survives no failure.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.support.s3_services import ACCESS_KEY, SECRET_KEY

MIB = 1024**2
PART_BYTES = 8 * MIB
PARALLEL_PARTS = 4
BUCKET = "uploads"
_TUS = (b"tus-resumable", b"1.0.0")
_LOCATION = b"/files/0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def s3_client(url: str) -> AsyncIterator[Any]:
    """A client with the configuration of tusd-py."""
    config = AioConfig(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": False, "addressing_style": "path"},
    )
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    async with get_session().create_client(
        "s3", endpoint_url=url, region_name="us-east-1", config=config, **keys
    ) as client:
        yield client


class Multipart:
    """A multipart upload of bytes that arrive in order; a few parts are sent at the same time."""

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._names = {"Bucket": BUCKET, "Key": key}
        self._slots = asyncio.Semaphore(PARALLEL_PARTS)
        self._parts: list[asyncio.Task[dict[str, object]]] = []

    async def create(self) -> None:
        made = await self._client.create_multipart_upload(**self._names)
        self._names["UploadId"] = made["UploadId"]

    async def add(self, part: bytes) -> None:
        """Send ``part`` as soon as fewer than all slots are in use; waits for that."""
        await self._slots.acquire()
        number = len(self._parts) + 1
        self._parts.append(asyncio.get_running_loop().create_task(self._send(number, part)))

    async def _send(self, number: int, part: bytes) -> dict[str, object]:
        try:
            sent = await self._client.upload_part(PartNumber=number, Body=part, **self._names)
        finally:
            self._slots.release()
        return {"PartNumber": number, "ETag": sent["ETag"]}

    async def complete(self) -> None:
        parts = await asyncio.gather(*self._parts)
        await self._client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **self._names)


class Floor:
    """The application. ``client`` must be set before the first request."""

    client: Any = None
    _received = 0

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        status, headers = 200, [_TUS, (b"content-length", b"0")]
        if scope["method"] == "POST":
            await receive()
            status, headers = 201, [*headers, (b"location", _LOCATION)]
        elif scope["method"] == "PATCH":
            self._received = await self._upload(receive)
            status, headers = 204, [_TUS, (b"upload-offset", b"%d" % self._received)]
        else:
            headers.append((b"upload-offset", b"%d" % self._received))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _upload(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> int:
        upload = Multipart(self.client, "floor")
        await upload.create()
        pieces: list[bytes] = []
        gathered = total = 0
        is_more = True
        while is_more:
            message = await receive()
            pieces.append(message.get("body", b""))
            gathered += len(pieces[-1])
            is_more = message.get("more_body", False)
            while gathered >= PART_BYTES or (not is_more and gathered):
                part = b"".join(pieces)
                await upload.add(part[:PART_BYTES])
                total += min(gathered, PART_BYTES)
                pieces, gathered = [part[PART_BYTES:]], max(0, gathered - PART_BYTES)
        await upload.complete()
        return total


async def serve(url: str) -> None:
    """Serve on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    application = Floor()
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
    )
    async with s3_client(url) as application.client:
        print(f"tus endpoint  http://127.0.0.1:{listener.getsockname()[1]}/files/", flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1]))
