"""``/openapi.json`` and ``/docs``: served, cached by tag, under a strict policy; the vendored files are as listed."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

import pytest
from starlette.applications import Starlette

from tests.unit.web.asgi import ask
from tusd_py.web.api.documentation import DIRECTORY, documentation_routes
from tusd_py.web.api.openapi import load_document

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> Starlette:
    return Starlette(routes=documentation_routes())


async def test_document_is_served(app: Starlette) -> None:
    """The description as JSON, plain or compressed, and 304 for a client that has it."""
    plain = await ask(app, "GET", "/openapi.json")
    assert (plain.status, plain.headers["content-type"]) == (200, "application/json")
    assert json.loads(plain.body) == load_document()
    compressed = await ask(app, "GET", "/openapi.json", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(compressed.body) == plain.body
    again = await ask(app, "GET", "/openapi.json", {"If-None-Match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_page_uses_only_its_own_files(app: Starlette) -> None:
    """Every file that the page names is served from here, under a policy that permits nothing else."""
    page = await ask(app, "GET", "/docs")
    policy = page.headers["content-security-policy"]
    assert (page.status, "default-src 'none'" in policy, "unsafe" in policy) == (200, True, False)
    names = re.findall(r'(?:src|href)="\./(docs/[^"]+)"', page.body.decode())
    assert len(names) == 3
    for name in names:
        assert (await ask(app, "GET", f"/{name}", {"Accept-Encoding": "gzip"})).status == 200
    assert b"http" not in page.body.replace(b"openapi", b"")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "openapi.json", "../documentation.py", "VENDOR.md"])
async def test_other_files_404(app: Starlette, name: str) -> None:
    """Nothing else of the package is served."""
    assert (await ask(app, "GET", f"/docs/{name}")).status == 404


def test_vendored_files_are_as_listed() -> None:
    """``VENDOR.md`` has the sum of each file, and nothing else is there."""
    folder = DIRECTORY / "vendor"
    listed = dict(re.findall(r"^\| `([\w.-]+)` \|.+\| `([0-9a-f]{64})` \|$", (folder / "VENDOR.md").read_text(), re.M))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del files["VENDOR.md"]
    assert listed == files
