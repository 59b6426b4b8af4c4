"""The receivers in examples/ work unchanged with a running server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import TUS, create, patch_headers, request
from tests.support.node import node
from tests.support.server import start_server

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMED = {"Upload-Metadata": f"filename {b64encode(b'CAT.png').decode()},kind {b64encode(b'x').decode()}"}
LEAVE = {**TUS, "Authorization": "Bearer let-me-in"}


@contextmanager
def example(name: str, environment: Mapping[str, str] | None = None) -> Iterator[tuple[str, Callable[[], str]]]:
    """Run a receiver; yield its URL and a function that reads its next line of output."""
    program = sys.executable if name.endswith(".py") else node()
    environ = {**os.environ, **(environment or {})}
    with subprocess.Popen([program, EXAMPLES / name, "0"], stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address is not None
            yield address[0], process.stdout.readline
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["hook_receiver.py", "hook_receiver.mjs"])
async def test_hook_receivers(name: str, tmp_path: Path) -> None:
    """Each of their responses reaches the client or the upload."""
    with example(name) as (url, _):
        settings = {"HOOKS__HTTP_URLS": url, "HOOKS__ENABLED_EVENTS": "authorize,pre-create,pre-finish"}
        server = start_server(tmp_path / "data", settings=settings)
        try:
            stranger = await request("POST", server.url, {**TUS, **NAMED, "Upload-Length": "4"})
            assert (stranger.status, stranger.body) == (401, b"who are you?\n")
            nameless = await request("POST", server.url, {**LEAVE, "Upload-Length": "4"})
            assert (nameless.status, nameless.body) == (422, b"give the file a name\n")
            large = await request("POST", server.url, {**LEAVE, **NAMED, "Upload-Length": "1000000001"})
            assert (large.status, large.body) == (413, b"at most 1 GB\n")
            created = await request("POST", server.url, {**LEAVE, **NAMED, "Upload-Length": "4"})
            location = server.url + created.headers["location"].rsplit("/", 1)[1]
            head = await request("HEAD", location, LEAVE)
            assert head.headers["upload-metadata"] == f"filename {b64encode(b'cat.png').decode()},kind eA=="
            assert (await request("PATCH", location, patch_headers(0), b"0123")).status == 401
            finished = await request("PATCH", location, {**patch_headers(0), **LEAVE}, b"0123")
            upload_id = location.rsplit("/", 1)[1]
            assert (finished.status, finished.headers["x-file"]) == (204, f"/library/{upload_id}")
        finally:
            server.kill()


def test_the_docs_link_to_every_receiver() -> None:
    """In docs/hooks.md."""
    text = (EXAMPLES.parent / "docs" / "hooks.md").read_text()
    assert all(f"../examples/{path.name}" in text for path in EXAMPLES.glob("*hook_receiver.*"))


@pytest.mark.parametrize("name", ["webhook_receiver.py", "webhook_receiver.mjs"])
async def test_webhook_receivers_verify_signatures(name: str, tmp_path: Path) -> None:
    """They accept each event once, also with a second key in the settings; forged requests get 401."""
    secret, other = "whsec_" + "A" * 32, "whsec_" + "B" * 32
    with example(name, {"WEBHOOK_SECRET": secret}) as (url, said):
        endpoint = {"name": "library", "url": url, "secrets": [other, secret], "allow_private": True}
        server = start_server(tmp_path / "data", settings={"WEBHOOKS__ENDPOINTS": json.dumps([endpoint])})
        try:
            location = await create(server.url, 0)
            upload_id = location.rsplit("/", 1)[1]
            types = ["post-create", "post-finish", "upload.ready"]
            assert [f"{kind} {upload_id}\n" for kind in types] == [await asyncio.to_thread(said) for _ in types]
        finally:
            server.kill()
        forged = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
        assert (await request("POST", url, forged, b"{}")).status == 401
