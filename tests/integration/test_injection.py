"""Control characters and line ends in what clients name get neither into headers nor into lines of the log."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, patch_headers, request
from tests.support.command import run
from tests.support.grants import ADMIN, call, start
from tests.support.server import RunningServer
from tests.support.tokens import bearer

pytestmark = [pytest.mark.anyio, pytest.mark.long]

#: A line end with a header and a line of the log, colours of a terminal, and what some viewers take for line ends.
HOSTILE = "a\r\nSet-Cookie: evil=1\r\n\r\nlevel=error event=forged \x1b[31mred\x9b0m \u2028\u2029\u202e\x00\x7f end"
FORGED = re.compile(rb"^(Set-Cookie|level=error event=forged)", re.M)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    settings = {"LOG__LEVEL": "debug", "LOG__FORMAT": "text", "AUDIT__ENABLED": "true", "ACCOUNTS__API_KEYS": "true"}
    running = start(tmp_path / "data", ACCOUNTS__ENABLED="true", EVENTS__RECORD="true", **settings)
    yield running
    running.kill()


async def test_hostile_names(server: RunningServer) -> None:
    """Accepted or refused with 4xx, each answer has the headers of the server only, and each line is the server's."""
    metadata = f"filename {b64encode(HOSTILE.encode()).decode()},filetype {b64encode(HOSTILE.encode()).decode()}"
    answers = []
    created = await request(
        "POST", server.url, {**TUS, **ADMIN, "Upload-Length": "4", "Upload-Metadata": metadata}, b""
    )
    assert created.status == 201, created
    url = urljoin(server.url, created.headers["location"])
    answers += [created, await request("PATCH", url, {**patch_headers(0), **ADMIN}, b"four")]
    answers.append(await request("GET", url, ADMIN))
    answers.append(await request("HEAD", url, {**TUS, **ADMIN}))
    upload_id = url.rpartition("/")[2]
    fields = ("name", "password", "label", "owner", "file_name", "code", "refresh_token", "upload_id")
    hostile: dict[str, object] = dict.fromkeys(fields, HOSTILE) | {"metadata": {HOSTILE: HOSTILE}}
    needed: dict[str, object] = {"file_size": 4, "chunk_count": 1, "seconds": 60, "length": 4, "roles": ["uploader"]}
    for path in ("auth/login", "auth/refresh", "auth/logout", "accounts", "keys", "codes", "codes/redeem"):
        answers.append(await call(server, "POST", path, hostile, ADMIN))
        for name, value in hostile.items():
            answers.append(await call(server, "POST", path, {**needed, name: value}, ADMIN))
    for path in ("upload-links", "download-links", "sessions"):
        for name, value in hostile.items():
            body = {"upload_id": upload_id, "file_name": "a", **needed, name: value}
            known = {key: body[key] for key in _KNOWN[path] if key in body}
            answers.append(await call(server, "POST", path, {**known, name: value}, ADMIN))
    quoted = "a%0d%0aSet-Cookie:%20evil=1%0d%0a%1b[31m%e2%80%a8"
    for path in (f"files/{quoted}", f"api/uploads/{quoted}", f"api/accounts/{quoted}", f"api/{quoted}", f"x/{quoted}"):
        for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
            answers.append(await request(method, f"{server.root}/{path}?a={quoted}", {**TUS, **ADMIN}))
    for header in ("X-Request-ID", "User-Agent", "X-HTTP-Method-Override", "Upload-Defer-Length", "Tus-Resumable"):
        value = "a\x0bb\x1b[31m\x7f"
        answers.append(await request("HEAD", url, {**TUS, **ADMIN, header: value}))
    for subject in (HOSTILE, "line\u2028end", "half\ud800"):
        answers.append(await request("HEAD", url, {**TUS, **bearer(subject)}))
    assert not [answer for answer in answers if answer.status >= 500]
    for answer in answers:
        assert "evil=1" not in answer.headers.get("set-cookie", ""), answer
        for name, value in answer.headers.items():
            assert not CONTROL.search(value), (name, value)
    listed = json.loads((await call(server, "GET", f"uploads/{upload_id}", None, ADMIN)).body)
    assert listed["id"] == upload_id
    server.stop()  # it writes the entries of refused requests
    for arguments in (("uploads", "list"), ("key", "list"), ("user", "list"), ("audit", "list"), ("events", "tail")):
        printed = await asyncio.to_thread(run, *arguments, "--data-dir", str(server.data_dir), **_SETTINGS)
        assert printed.exit_code == 0, (arguments, printed.output)
        assert not CONTROL.search(printed.output), arguments
        assert not FORGED.search(printed.output.encode()), arguments
    log = server.log.read_bytes()
    assert not FORGED.search(log)
    assert not CONTROL.search(log.decode())
    assert len(log.splitlines()) == len(log.decode().splitlines())


_SETTINGS = {"ACCOUNTS__ENABLED": "true", "ACCOUNTS__API_KEYS": "true", "AUDIT__ENABLED": "true"}
_KNOWN = {
    "upload-links": ("length", "owner", "metadata", "seconds"),
    "download-links": ("upload_id", "seconds"),
    "sessions": ("file_name", "file_size", "chunk_count", "metadata"),
}
