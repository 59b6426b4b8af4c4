"""Routing below a base path, by itself; the whole application is tested with the wiring."""

from __future__ import annotations

import pytest
from starlette.routing import Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from tests.unit.web.asgi import scope
from tusd_py.web.app import PrefixRoute


async def app(_scope: Scope, _receive: Receive, _send: Send) -> None: ...


@pytest.mark.parametrize(
    ("base", "root", "path", "here"),
    [
        ("/files/", "", "/files", "/files"),
        ("/files/", "", "/files/", "/files"),
        ("/files/", "", "/files/u1", "/files"),
        ("/files/", "/api", "/api/files/u1", "/api/files"),
        ("/", "", "/u1", ""),
        ("/files/", "", "/filesystem", None),
        ("/files/", "", "/", None),
        ("/files/", "/api", "/files/u1", None),
    ],
)
def test_every_path_below_and_none_beside(base: str, root: str, path: str, here: str | None) -> None:
    """With and without the slash; a prefix of the whole application is part of it."""
    match, child = PrefixRoute(base, app).matches(scope("GET", path, root_path=root))
    assert match is (Match.NONE if here is None else Match.FULL)
    assert child.get("root_path") == here
    if here is not None:
        assert child["app_root_path"] == root


def test_it_has_no_names_and_takes_http_alone() -> None:
    """No URL is made by name, and a WebSocket is somebody else's."""
    below = PrefixRoute("/files/", app)
    with pytest.raises(NoMatchFound):
        below.url_path_for("anything")
    assert below.matches(scope("GET", "/files/u1", type="websocket"))[0] is Match.NONE
