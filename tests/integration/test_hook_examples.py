"""The receivers under examples/ run as they are, and do what they say, for a running server."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import TUS, patch_headers, request
from tests.support.loops import on_loop
from tests.support.node import node
from tests.support.server import start_server

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMED = {"Upload-Metadata": f"filename {b64encode(b'CAT.png').decode()},kind {b64encode(b'x').decode()}"}
LEAVE = {**TUS, "Authorization": "Bearer let-me-in"}


@contextmanager
def example(name: str) -> Iterator[str]:
    """The URL of a receiver that runs."""
    program = sys.executable if name.endswith(".py") else node()
    with subprocess.Popen([program, EXAMPLES / name, "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address is not None
            yield address[0]
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["hook_receiver.py", "hook_receiver.mjs"])
@on_loop
async def test_a_receiver_authorises_refuses_changes_and_answers(name: str, tmp_path: Path) -> None:
    """Each of its answers reaches the client, or the upload."""
    with example(name) as url:
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


def test_both_receivers_are_in_the_papers() -> None:
    """docs/hooks.md leads to each of them."""
    text = (EXAMPLES.parent / "docs" / "hooks.md").read_text()
    assert all(f"../examples/{path.name}" in text for path in EXAMPLES.glob("hook_receiver.*"))
