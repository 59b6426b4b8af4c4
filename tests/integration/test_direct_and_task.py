"""The same requests to two servers: one answers without a task where it can, the other one always by a task."""

from __future__ import annotations

import http.client
import json
import random
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, token

REQUESTS = 1000
STREAM = "application/offset+octet-stream"
#: What is not ordinary: each is added to a few requests.
UNUSUAL = [
    ("Connection", "close"),
    ("Content-Encoding", "gzip"),
    ("Content-Range", "bytes 0-1/2"),
    ("Expect", "100-continue"),
    ("Origin", "https://example.com"),
    ("Tus-Resumable", "0.2.2"),
    ("Upload-Checksum", "sha1 AAAA"),
    ("Upload-Concat", "partial"),
    ("Upload-Defer-Length", "1"),
    ("Upload-Draft-Interop-Version", "6"),
    ("Upload-Length", "10"),
    ("Upload-Metadata", "filename YQ==,a"),
    ("Upload-Metadata", "filename YQ=="),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-HTTP-Method-Override", "PATCH"),
    ("X-Request-ID", "mine"),
]
#: Their values differ from request to request.
VARYING = ("date", "etag", "last-modified", "location", "upload-expires", "x-request-id")

CREDENTIALS = {
    "alice": "Bearer " + token("alice"),
    "bob": "Bearer " + token("bob"),
    "viewer": "Bearer " + token("vera", roles=["viewer"]),
    "moderator": "Bearer " + token("mo", roles=["moderator"]),
    "admin": "Bearer " + token("root", roles=["admin"]),
    "roleless": "Bearer " + token("eve", roles=[]),
    "expired": "Bearer " + token("alice", seconds=-100),
    "forged": "Bearer " + token("alice", key="another secret of 32 bytes or more"),
    "basic": "Basic YTpi",
    "anonymous": "",
}

#: A status, the headers and the body.
Response = tuple[int, list[tuple[str, str]], bytes]


class Side:
    """One of the servers, with its own ids of the uploads."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection(server.root.removeprefix("http://"))
        self.paths: list[str] = []

    def close(self) -> None:
        self._connection.close()

    def send(self, method: str, upload: int | None, headers: list[tuple[str, str]], body: bytes) -> Response:
        path = "/files/" if upload is None else self.paths[upload]
        self._connection.putrequest(method, path)
        for name, value in headers:
            self._connection.putheader(name, value)
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        content = response.read()
        fields = [(name.lower(), value) for name, value in response.getheaders()]
        if response.status == 201 and "location" in dict(fields):
            self.paths.append("/files/" + dict(fields)["location"].rpartition("/")[2])
        return response.status, [(name, "" if name in VARYING else value) for name, value in fields], content


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[list[Side]]:
    """The second server logs each request, which only tasks do."""
    servers = [start_server(folder / level, settings={**settings, "LOG__LEVEL": level}) for level in ("info", "debug")]
    made = [Side(server) for server in servers]
    try:
        yield made
    finally:
        for side in made:
            side.close()
            side.server.stop()


def arbitrary(rng: random.Random, lengths: list[int], offsets: list[int]) -> tuple[str, int | None, bytes, int]:
    """A method, an upload, a body and an offset or length, mostly such that the request is accepted."""
    method = rng.choices(["POST", "PATCH", "HEAD", "DELETE"], [3, 5, 3, 1])[0]
    if method == "POST" or not lengths:
        length = rng.choice([0, 1, 10, 1000])
        return "POST", None, bytes(rng.choice([0, 0, length, length // 2, length + 1])), length
    upload = rng.randrange(max(0, len(lengths) - 20), len(lengths))
    left = max(0, lengths[upload] - offsets[upload])
    size = rng.choice([left, left, left // 2, 0, left + 1]) if method == "PATCH" else 0
    return method, upload, bytes(size), offsets[upload] + rng.choice([0] * 9 + [1])


@pytest.mark.long
def test_same_responses_with_and_without_a_task(tmp_path: Path) -> None:
    """Status, headers and body of each response are equal, and so are the offsets at the end."""
    with serving(tmp_path, {}) as sides:
        compare(sides, REQUESTS, {"anonymous": ""})


@pytest.mark.long
@pytest.mark.parametrize("anonymous", ["none", "all"])
def test_same_responses_with_access_control(tmp_path: Path, anonymous: str) -> None:
    """Owners, foreign uploads, roles, tokens that are not accepted, and quotas that are used up.

    The entries of the audit log and the lines about uploads are equal too.
    """
    settings = {
        "JWT__SECRET": SECRET,
        "ACCESS__ANONYMOUS": anonymous,
        "API__ENABLED": "true",
        "AUDIT__ENABLED": "true",
        "AUDIT__REFUSALS_PER_MINUTE": "100000",
        "QUOTAS__ENABLED": "true",
        "QUOTAS__BYTES_PER_DAY": "20000",
    }
    with serving(tmp_path, settings) as sides:
        statuses = compare(sides, REQUESTS, CREDENTIALS)
        assert {200, 201, 204, 401, 403, 404, 413} <= statuses
    entries = [audit_entries(side) for side in sides]
    assert len(entries[0]) > REQUESTS / 4
    assert entries[0] == entries[1]
    lines = [lines_about_uploads(side) for side in sides]
    assert len(lines[0]) > REQUESTS / 10
    assert lines[0] == lines[1]


@pytest.mark.long
def test_same_responses_at_the_limit_of_creations(tmp_path: Path) -> None:
    """Each owner may create five uploads in a minute; those that a quota refuses count as well."""
    settings = {
        "JWT__SECRET": SECRET,
        "RATES__CREATIONS_PER_MINUTE": "5",
        "QUOTAS__ENABLED": "true",
        "QUOTAS__BYTES_PER_DAY": "30",
    }
    with serving(tmp_path, settings) as sides:
        for name in ("alice", "bob", "anonymous"):
            seen = []
            for side in sides:
                headers = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "10"), ("Content-Type", STREAM)]
                headers += authorization(CREDENTIALS[name])
                seen.append([side.send("POST", None, headers, bytes(10 if n % 2 else 5))[0] for n in range(7)])
            assert [201, 201, 201, 413, 413, 429, 429] == seen[0]
            assert seen[0] == seen[1]


def compare(sides: list[Side], count: int, credentials: Mapping[str, str]) -> set[int]:
    """Send the same requests to both servers, and return the statuses of their responses, which are equal."""
    rng = random.Random(20261129)
    lengths: list[int] = []
    offsets: list[int] = []
    owners: list[str] = []
    statuses: set[int] = set()
    for _ in range(count):
        method, upload, body, number = arbitrary(rng, lengths, offsets)
        # Mostly the client that has created the upload.
        name = rng.choice([*credentials])
        if upload is not None and rng.random() < 0.7:
            name = owners[upload]
        headers = [("Tus-Resumable", "1.0.0"), *authorization(credentials[name])]
        if method in ("POST", "PATCH"):
            headers.append(("Upload-Length" if method == "POST" else "Upload-Offset", str(number)))
            if method == "PATCH" or body:
                headers.append(("Content-Type", rng.choices([STREAM, "text/plain"], [19, 1])[0]))
        headers += [each for each in UNUSUAL if rng.random() < 0.01]
        first, second = [side.send(method, upload, headers, body) for side in sides]
        assert first == second, (method, headers, len(body))
        statuses.add(first[0])
        offset = dict(first[1]).get("upload-offset")
        if len(sides[0].paths) > len(lengths):
            lengths.append(number)
            offsets.append(int(offset or 0))
            owners.append(name)
        elif upload is not None and offset is not None:
            offsets[upload] = int(offset)
    for upload in range(len(lengths)):
        head = [("Tus-Resumable", "1.0.0"), *authorization(credentials[owners[upload]])]
        first, second = [side.send("HEAD", upload, head, b"") for side in sides]
        assert first == second
    return statuses


def authorization(value: str) -> list[tuple[str, str]]:
    return [("Authorization", value)] if value else []


def audit_entries(side: Side) -> list[tuple[str, ...]]:
    """The entries of the audit log of a server that has stopped, with the number of each upload in place of its id.

    In order of their values: refusals are written up to a second later than changes.
    """
    names = "subject, method, verb, kind, object_id, outcome, address, reason"
    with closing(sqlite3.connect(side.server.data_dir / "tusd.sqlite3")) as database:
        rows = database.execute(f"SELECT {names} FROM audit_entries").fetchall()
    return sorted(tuple(without_id(side, str(value)) for value in row) for row in rows)


def lines_about_uploads(side: Side) -> list[dict[str, object]]:
    """The lines of the log about uploads, without what differs from run to run."""
    lines = [json.loads(without_id(side, line)) for line in side.server.log.read_text().splitlines() if line[:1] == "{"]
    return [
        {name: value for name, value in line.items() if name not in ("time", "timestamp", "request_id")}
        for line in lines
        if line.get("logger") == "tusd_py.uploads"
    ]


def without_id(side: Side, text: str) -> str:
    def number(found: re.Match[str]) -> str:
        path = "/files/" + found[0]
        return f"upload {side.paths.index(path)}" if path in side.paths else "unknown"

    return re.sub(r"[0-9a-f]{32}", number, text)
