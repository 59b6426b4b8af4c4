"""``PrefixRoute``: which paths it routes, with and without a mount."""

from __future__ import annotations

import pytest
from starlette.routing import Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from tests.unit.web.asgi import scope
from tusd_py.web.app import PrefixRoute


async def app(_scope: Scope, _receive: Receive, _send: Send) -> None: ...


@pytest.mark.parametrize(
    ("base", "root", "path", "prefix"),
    [
        ("/files/", "", "/files", "/files"),
        ("/files/", "", "/files/", "/files"),
        ("/files/", "", "/files/u1", "/files"),
        ("/files/", "/api", "/api/files/u1", "/api/files"),
        ("/", "", "/u1", ""),
        ("/files/", "", "/files//", "/files"),
        ("/files/", "", "//files/u1", "/files"),
        ("/files/", "", "///files//u1/", "/files"),
        ("/files/", "/api", "/api//files/u1", "/api/files"),
        ("/", "", "/", ""),
        ("/", "", "//u1", ""),
        ("/files/", "", "/filesystem", None),
        ("/files/", "", "//filesystem", None),
        ("/files/", "", "/", None),
        ("/files/", "/api", "/files/u1", None),
    ],
)
def test_prefix_route_matches(base: str, root: str, path: str, prefix: str | None) -> None:
    """It matches the base path with and without its slash and every path route; ``root_path`` becomes its prefix."""
    match, child = PrefixRoute(base, app).matches(scope("GET", path, root_path=root))
    assert match is (Match.NONE if prefix is None else Match.FULL)
    assert child.get("root_path") == prefix
    if prefix is not None:
        assert child["app_root_path"] == root
        assert "//" not in child["path"]


def test_prefix_route_has_no_names_and_ignores_websockets() -> None:
    """It builds no URLs by name, and a WebSocket does not match."""
    route = PrefixRoute("/files/", app)
    with pytest.raises(NoMatchFound):
        route.url_path_for("anything")
    assert route.matches(scope("GET", "/files/u1", type="websocket"))[0] is Match.NONE
