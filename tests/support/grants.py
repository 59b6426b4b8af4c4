"""Links and access codes on the wire, for tests: made and redeemed by the JSON API of a running server."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.client import Answer, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

ALICE = bearer("alice")
BOB = bearer("bob")
ADMIN = bearer("root", roles=["admin"])
SETTINGS = {
    "JWT__SECRET": SECRET,
    "ACCESS__ANONYMOUS": "none",
    "API__ENABLED": "true",
    "LINKS__ENABLED": "true",
    "CODES__ENABLED": "true",
}


def start(data_dir: Path, *flags: str, **settings: str) -> RunningServer:
    """A server with links and codes."""
    return start_with(data_dir, *flags, settings=settings)


def start_with(
    data_dir: Path, *flags: str, settings: Mapping[str, str], variables: Mapping[str, str] | None = None
) -> RunningServer:
    """The same, with more of its environment."""
    return start_server(data_dir, *flags, settings={**SETTINGS, **settings}, variables=variables)


async def call(
    server: RunningServer,
    method: str,
    path: str,
    content: Mapping[str, object] | None = None,
    headers: Mapping[str, str] = ALICE,
) -> Answer:
    """One request to the API."""
    body = b"" if content is None else json.dumps(content).encode()
    more = {} if content is None else {"Content-Type": "application/json"}
    return await request(method, f"{server.root}/api/{path}", {**headers, **more}, body)


async def made(server: RunningServer, kind: str, headers: Mapping[str, str] = ALICE, **terms: object) -> dict[str, Any]:
    """A new link (``upload-links``, ``download-links``) or code (``codes``)."""
    answer = await call(server, "POST", kind, terms, headers)
    assert answer.status == 201, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def redeemed(server: RunningServer, code: str) -> dict[str, str]:
    """The headers of the bearer of ``code``."""
    # From an address of its own, where the server trusts this header: other addresses may have guessed.
    address = {"X-Forwarded-For": f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"}
    answer = await call(server, "POST", "codes/redeem", {"code": code}, address)
    assert answer.status == 200, answer
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


async def becomes(condition: Callable[[], Awaitable[bool]], timeout_seconds: float = 20.0) -> None:
    """Return as soon as the server says that ``condition`` holds."""
    deadline = time.monotonic() + timeout_seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} seconds"
        await asyncio.sleep(0.02)
