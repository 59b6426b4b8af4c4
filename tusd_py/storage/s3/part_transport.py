"""Sends parts, and objects of a large part's size, without joining their pieces.

The client library copies a body three times on its way: it wants one object of bytes, wraps it in a file, and writes
64 KiB at a time. Bodies are most of the work here, so their requests are signed by the library and sent by the HTTP
client beneath it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
#: An error of S3 is shorter.
_ERROR_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """The answer of S3: an ETag, or the code of an error."""

    status: int
    etag: str
    code: str

    @property
    def may_be_repeated(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status >= 500 or self.status == 429 or self.code in ("RequestTimeout", "SlowDown")

    def response(self) -> Mapping[str, Any]:
        """As the client library shows an error."""
        return {"Error": {"Code": self.code}, "ResponseMetadata": {"HTTPStatusCode": self.status}}


class PartTransport:
    """The connections of one event loop for large bodies."""

    def __init__(
        self, tls: ssl.SSLContext, connections_max: int, connect_seconds: float, timeout_seconds: float
    ) -> None:
        from aiohttp import ClientSession, ClientTimeout, TCPConnector

        self._session = ClientSession(
            connector=TCPConnector(limit=connections_max, ssl=tls),
            timeout=ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=timeout_seconds),
            trust_env=True,
            # A signature covers neither of them.
            skip_auto_headers=("Content-Type", "Accept-Encoding"),
        )

    async def put(self, url: str, pieces: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> PartAnswer:
        """Send ``pieces`` to a presigned URL. Raises ``OSError``, ``TimeoutError`` or an error of aiohttp."""
        from yarl import URL

        body = _payload_class()(pieces)
        async with self._session.put(URL(url, encoded=True), data=body, headers=dict(headers)) as response:
            if response.status == 200:
                await response.read()
                return PartAnswer(200, response.headers.get("ETag", ""), "")
            text = (await response.content.read(_ERROR_BYTES_MAX)).decode("utf-8", "replace")
        found = _CODE.search(text)
        return PartAnswer(response.status, "", found[1] if found else "")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        # Connections of TLS end in the next turn of the event loop.
        await asyncio.sleep(0)


def headers_of(client: Any, operation: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers for those ``arguments`` that a presigned URL signs, but does not contain."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    found = {}
    for name, value in arguments.items():
        place = model.input_shape.members[name].serialization
        if place.get("location") == "header":
            found[place["name"]] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


@cache
def _payload_class() -> Any:
    """The class of bodies, made when aiohttp is first needed."""
    from aiohttp.payload import Payload

    class Pieces(Payload):
        """A body of known length in pieces."""

        def __init__(self, pieces: Sequence[bytes | memoryview]) -> None:
            super().__init__(pieces, content_type="application/octet-stream")
            self._size = sum(map(len, pieces))

        def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
            raise TypeError("a part is no text")

        async def write(self, writer: Any) -> None:
            # Else the client joins them with the first piece, by a copy of what may be a whole part.
            writer.send_headers()
            for piece in self._value:
                await writer.write(piece)

        async def write_with_length(self, writer: Any, content_length: int | None) -> None:
            await self.write(writer)

    return Pieces


def tls_context(session: Any) -> ssl.SSLContext:
    """The certificates that the client library trusts too. Blocks for a tenth of a second."""
    from botocore.httpsession import get_cert_path

    return ssl.create_default_context(cafile=session.get_config_variable("ca_bundle") or get_cert_path(True))
