"""A client of the IETF draft on raw sockets that returns every interim response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from tests.support.client import Answer, Connection

#: The interop versions under test; 8 is that of iOS 26.
VERSIONS = (6, 8, 9)
#: All that the server supports.
ALL_VERSIONS = (3, 4, 5, 6, 7, 8, 9)
PROBLEMS = "https://iana.org/assignments/http-problem-types#"


@dataclass(frozen=True)
class Responses:
    """All responses to one request."""

    interims: list[Answer]
    final: Answer

    @property
    def status(self) -> int:
        return self.final.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.final.headers

    @property
    def completeness(self) -> str:
        """``Upload-Complete``, or the negation of ``Upload-Incomplete``, which version 3 has instead."""
        incomplete = self.headers.get("upload-incomplete")
        if incomplete is None:
            return self.headers["upload-complete"]
        assert "upload-complete" not in self.headers, self.final
        return {"?0": "?1", "?1": "?0"}[incomplete]

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document of the final response."""
        assert self.headers["content-type"] == "application/problem+json", self.final
        document: dict[str, Any] = json.loads(self.final.body)
        assert document["status"] == self.status, document
        return document

    @property
    def announced(self) -> list[str]:
        """The Location headers of the interim responses."""
        return [interim.headers["location"] for interim in self.interims if "location" in interim.headers]

    @property
    def progress(self) -> list[int]:
        """The offsets of the interim responses."""
        return [
            int(interim.headers["upload-offset"]) for interim in self.interims if "upload-offset" in interim.headers
        ]


@dataclass(frozen=True)
class Draft:
    """A client of one version of the draft for one server."""

    endpoint: str
    version: int = 8
    more: Mapping[str, str] = field(default_factory=dict)  # headers of every request

    @property
    def named(self) -> dict[str, str]:
        return {"Upload-Draft-Interop-Version": str(self.version), **self.more}

    @property
    def completeness_name(self) -> str:
        return "Upload-Complete" if self.version > 3 else "Upload-Incomplete"

    def completeness(self, *, completes: bool) -> dict[str, str]:
        return {self.completeness_name: f"?{int(completes is (self.version > 3))}"}

    def creation(self, length: int | None, *, completes: bool, **headers: str) -> dict[str, str]:
        known = {} if length is None else {"Upload-Length": str(length)}
        return {**self.named, **self.completeness(completes=completes), **known, **_named(headers)}

    def patch(self, offset: int, *, completes: bool, **headers: str) -> dict[str, str]:
        # The media type exists since version 6.
        typed = {"Content-Type": "application/partial-upload"} if self.version > 5 else {}
        placed = {**typed, "Upload-Offset": str(offset)}
        return {**self.named, **self.completeness(completes=completes), **placed, **_named(headers)}

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | memoryview | None = None
    ) -> Responses:
        """Send one request on a connection of its own and return all responses."""
        connection = await Connection.open(url)
        try:
            length = {} if body is None else {"Content-Length": str(len(body))}
            await connection.send_head(method, url, {**(self.named if headers is None else headers), **length})
            return await receive_responses(connection, body or b"")
        finally:
            connection.close()

    async def create(
        self, body: bytes | memoryview = b"", length: int | None = None, *, completes: bool = True, **headers: str
    ) -> Responses:
        return await self.ask("POST", self.endpoint, self.creation(length, completes=completes, **headers), body)

    async def append(
        self, url: str, offset: int, body: bytes | memoryview = b"", *, completes: bool = True, **headers: str
    ) -> Responses:
        return await self.ask("PATCH", url, self.patch(offset, completes=completes, **headers), body)

    async def head(self, url: str) -> Responses:
        return await self.ask("HEAD", url)

    async def made(self, length: int | None, body: bytes = b"") -> str:
        """Create an open upload with ``body`` in it and return its URL."""
        answer = await self.create(body, length, completes=False)
        assert answer.status == 201, answer
        return self.url(answer)

    def url(self, answer: Responses) -> str:
        return urljoin(self.endpoint, answer.headers["location"])


async def receive_responses(connection: Connection, body: bytes | memoryview = b"") -> Responses:
    """Send ``body`` for a request whose head was sent, and return all responses."""
    sending = asyncio.ensure_future(connection.send(body))
    interims: list[Answer] = []
    try:
        while (answer := await asyncio.wait_for(connection.answer(interim=True), 30)).status < 200:
            interims.append(answer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return Responses(interims, answer)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    """``content_digest="..."`` as ``Content-Digest: ...``."""
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
