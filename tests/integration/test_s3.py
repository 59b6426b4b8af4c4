"""``tusd-py serve`` over a real S3 server: whole uploads, kills, takeovers, an outage. Nothing is kept on this disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.content import MIB, content
from tests.support.s3 import EVERY_KIND, S3Server, running_s3
from tests.support.server import RunningServer, start_server

# The S3 server takes minutes to compile.
pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

TUS = {"Tus-Resumable": "1.0.0"}
BODY = {"Content-Type": "application/offset+octet-stream"}
NONCE = "0123456789abcdef"
BUCKET = "uploads"
#: Of its own: a killed or refused request of another test may leave an object, which the janitor finds too.
JANITOR_BUCKET = "janitor"


@pytest.fixture(scope="module", params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


def settings(s3: S3Server) -> dict[str, str]:
    return s3.settings(BUCKET)


@pytest.fixture
def server(s3: S3Server, tmp_path: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", settings=settings(s3))
    yield running
    running.kill()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


def request(server: RunningServer, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, urlsplit(url).path, body, {**TUS, **headers})
        response = connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def create(server: RunningServer, length: int, body: bytes = b"", **headers: str) -> str:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    made = request(server, "POST", server.url, {"Upload-Length": str(length), **(BODY if body else {}), **more}, body)
    assert made.status == 201, made
    return made.headers["location"]


def append(server: RunningServer, url: str, offset: int, body: bytes) -> Reply:
    return request(server, "PATCH", url, {"Upload-Offset": str(offset), **BODY}, body)


def objects(s3: S3Server, bucket: str = BUCKET) -> list[str]:
    """The keys in the bucket, without their nonces, and without the objects by which a server tries and knows it."""
    listed = s3.client().list_objects_v2(Bucket=bucket).get("Contents", ())
    return [each["Key"].partition(".")[0] for each in listed if each["Key"] not in ("probe", "tusd-py.mark")]


def test_upload_download_termination(server: RunningServer, s3: S3Server) -> None:
    """Requests of any size become one object; HEAD, GET with Range and DELETE work; the disk has no bytes."""
    body = bytes(content(40, 13 * MIB))
    url = create(server, len(body), body[:1000])
    offset = 1000
    for count in (5, 6 * MIB, 5 * MIB, len(body)):
        reply = append(server, url, offset, body[offset : offset + count])
        assert (reply.status, reply.offset) == (204, min(len(body), offset + count))
        offset = reply.offset
        assert request(server, "HEAD", url, {}).offset == offset
    assert hashlib.sha256(request(server, "GET", url, {}).body).digest() == hashlib.sha256(body).digest()
    part = request(server, "GET", url, {"Range": f"bytes={5 * MIB - 2}-{5 * MIB + 2}"})
    assert (part.status, part.body) == (206, body[5 * MIB - 2 : 5 * MIB + 3])
    name = url.rsplit("/", 1)[1]
    assert objects(s3) == [f"uploads/{name}"]
    assert not any(path.stat().st_size > MIB for path in server.data_dir.rglob("uploads/**/*") if path.is_file())
    assert request(server, "DELETE", url, {}).status == 204
    assert objects(s3) == []
    assert request(server, "HEAD", url, {}).status == 404


def test_final_upload_is_one_object_copied_within_s3(server: RunningServer, s3: S3Server) -> None:
    """A final upload is one object, copied within S3."""
    bodies = [bytes(content(41, 6 * MIB)), bytes(content(42, 7)), bytes(content(43, 5 * MIB))]
    parts = [create(server, len(body), body, Upload_Concat="partial") for body in bodies]
    listed = " ".join(urlsplit(part).path for part in parts)
    made = request(server, "POST", server.url, {"Upload-Concat": f"final;{listed}"})
    assert made.status == 201
    url = made.headers["location"]
    assert request(server, "HEAD", url, {}).offset == sum(map(len, bodies))
    assert request(server, "GET", url, {}).body == b"".join(bodies)
    for one in (*parts, url):
        assert request(server, "DELETE", one, {}).status == 204
    assert objects(s3) == []


def test_kill_in_the_middle_of_a_patch(s3: S3Server, tmp_path: Path) -> None:
    """After ``kill -9`` another server, with the same records, continues at the saved offset; the bytes are right."""
    body = bytes(content(44, 40 * MIB))
    server = start_server(tmp_path / "data", settings=settings(s3))
    try:
        url = create(server, len(body))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest("PATCH", urlsplit(url).path)
        for name, value in {**TUS, **BODY, "Upload-Offset": "0", "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for start in range(0, 30 * MIB, MIB):
            connection.send(body[start : start + MIB])
            time.sleep(0.1)
    finally:
        server.kill()
        connection.close()
    port = server.port
    server = start_server(tmp_path / "data", settings=settings(s3), port=port)
    try:
        offset = request(server, "HEAD", url, {}).offset
        assert 0 < offset <= 30 * MIB
        assert append(server, url, offset, body[offset:]).offset == len(body)
        assert hashlib.sha256(request(server, "GET", url, {}).body).digest() == hashlib.sha256(body).digest()
        assert request(server, "DELETE", url, {}).status == 204
        assert objects(s3) == []
        assert not s3.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    finally:
        server.kill()


def test_outage_503(server: RunningServer, s3: S3Server) -> None:
    """While S3 is down requests that need it are answered 503 with Retry-After, and the upload goes on afterwards."""
    body = bytes(content(45, 7 * MIB))
    url = create(server, len(body), body[: 6 * MIB])
    s3.stop()
    try:
        reply = append(server, url, 6 * MIB, body[6 * MIB :])
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
    finally:
        s3.start()
    offset = request(server, "HEAD", url, {}).offset
    assert offset == 6 * MIB
    assert append(server, url, offset, body[offset:]).offset == len(body)
    assert request(server, "GET", url, {}).body == body
    assert request(server, "DELETE", url, {}).status == 204


def janitor(server: RunningServer, s3: S3Server, *flags: str) -> list[dict[str, object]]:
    """What ``tusd-py s3 janitor`` prints beside the running server."""
    variables = {f"TUSD_PY_{name}": value for name, value in s3.settings(JANITOR_BUCKET).items()}
    variables["TUSD_PY_STORAGE__DATA_DIR"] = str(server.data_dir)
    command = [sys.executable, "-m", "tusd_py", "s3", "janitor", "--json", *flags]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_janitor_removes_what_a_killed_server_has_left(s3: S3Server, tmp_path: Path) -> None:
    """It removes what a killed server has left of an upload, and the upload goes on with what its record names."""
    client = s3.client()
    client.create_bucket(Bucket=JANITOR_BUCKET)
    server = start_server(tmp_path / "data", settings=s3.settings(JANITOR_BUCKET))
    try:
        clean_up(server, s3)
    finally:
        server.kill()


def clean_up(server: RunningServer, s3: S3Server) -> None:
    body = bytes(content(46, 12 * MIB))
    url = create(server, len(body), body[: 6 * MIB])
    name = url.rsplit("/", 1)[1]
    client = s3.client()
    lost = client.create_multipart_upload(Bucket=JANITOR_BUCKET, Key=f"uploads/{name}.{NONCE}")["UploadId"]
    client.upload_part(Bucket=JANITOR_BUCKET, Key=f"uploads/{name}.{NONCE}", UploadId=lost, PartNumber=1, Body=b"x")
    client.put_object(Bucket=JANITOR_BUCKET, Key=f"tails/{name}/{0:020d}-{NONCE}", Body=b"x")
    client.put_object(Bucket=JANITOR_BUCKET, Key=f"uploads/without-record.{NONCE}", Body=b"x")
    client.put_object(Bucket=JANITOR_BUCKET, Key="others/lost", Body=b"x")
    expected = {f"uploads/{name}.{NONCE}", f"tails/{name}/{0:020d}-{NONCE}", f"uploads/without-record.{NONCE}"}
    assert janitor(server, s3) == [], "too young"
    # S3 counts whole seconds: an object of this second is not older than nothing. And the server may still try what the
    # bucket can do, with an object that no record names. A run takes more than a second.
    for _ in range(60):
        found = {str(each["key"]) for each in janitor(server, s3, "--older-than", "0s")}
        if found == expected:
            break
    assert found == expected
    removed = janitor(server, s3, "--older-than", "0s", "--delete")
    assert {str(each["key"]) for each in removed if each["is_removed"]} == expected
    assert janitor(server, s3, "--older-than", "0s") == []
    assert append(server, url, 6 * MIB, body[6 * MIB :]).offset == len(body)
    assert request(server, "GET", url, {}).body == body
    assert request(server, "DELETE", url, {}).status == 204
    assert objects(s3, JANITOR_BUCKET) == ["others/lost"]
    client.delete_object(Bucket=JANITOR_BUCKET, Key="others/lost")
    assert not client.list_multipart_uploads(Bucket=JANITOR_BUCKET).get("Uploads")
