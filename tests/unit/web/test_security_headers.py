"""Security headers are added to responses that lack them."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.unit.web.asgi import ask
from tusd_py.web.security_headers import HEADERS, SecurityHeaders

pytestmark = pytest.mark.anyio


async def test_own_headers_stay() -> None:
    """A response that has a policy of its own keeps it, and gets the others."""

    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("x", headers={"Content-Security-Policy": "default-src 'self'"})

    answer = await ask(SecurityHeaders(Starlette(routes=[Route("/", page)])), "GET", "/")
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert {name.decode() for name, _ in HEADERS} <= set(answer.headers)
