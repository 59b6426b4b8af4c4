"""Downloads by presigned URLs, and the attributes of objects, with ``tusd-py serve`` over a real S3 server."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import TUS, Answer, create, patch_headers, request
from tests.support.content import MIB, content
from tests.support.grants import ALICE, BOB, made, start
from tests.support.s3 import EVERY_KIND, RGW, S3Server, running_s3
from tests.support.server import RunningServer, start_server

# The S3 server takes minutes to compile.
pytestmark = [pytest.mark.long, pytest.mark.timeout(120), pytest.mark.anyio]

BUCKET = "uploads"


@pytest.fixture(scope="module", params=EVERY_KIND)
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with running_s3(request.param) as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


def settings(s3: S3Server, **more: str) -> dict[str, str]:
    return s3.settings(BUCKET, **more)


@pytest.fixture(scope="module")
def server(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    # Clients reach the service by another name than the server does.
    more = {"S3__DOWNLOAD": "redirect", "S3__PUBLIC_ENDPOINT_URL": s3.url.replace("127.0.0.1", "localhost")}
    running = start_server(tmp_path_factory.mktemp("s3") / "data", settings=settings(s3, **more))
    yield running
    running.stop()


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def upload(server: RunningServer, body: bytes, **values: str) -> str:
    location = await create(server.url, len(body), {**TUS, "Upload-Metadata": metadata(**values)})
    assert (await request("PATCH", location, patch_headers(0), body)).status == 204
    return location


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes


def get(url: str, **headers: str) -> Got:
    """GET as a client that sends no credentials."""
    asked = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=30) as response:
            return Got(
                response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
            )
    except urllib.error.HTTPError as error:
        return Got(error.code, {}, error.read())


def redirected(answer: Answer) -> str:
    assert (answer.status, answer.headers["cache-control"], answer.body) == (307, "no-store", b"")
    return answer.headers["location"]


async def test_download_is_redirected_307(server: RunningServer, s3: S3Server) -> None:
    """The URL at the public name gives the bytes, whole and by Range, with the name and type of a download here."""
    body = bytes(content(60, 6 * MIB))
    url = await upload(server, body, filename='ünïcode "x".html', filetype="text/html")
    signed = redirected(await request("GET", url, TUS))
    assert signed.startswith(s3.url.replace("127.0.0.1", "localhost"))
    whole, part = get(signed), get(signed, Range="bytes=5-9")
    assert (whole.status, whole.body == body, part.status, part.body) == (200, True, 206, body[5:10])
    head = await request("HEAD", url, TUS)
    for name in ("content-type", "content-disposition"):
        assert whole.headers[name] == head.headers[name]
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"].startswith("attachment; ")
    # The client cannot have it displayed instead.
    other = signed.replace("application%2Foctet-stream", "text%2Fhtml")
    assert (other != signed, get(other).status) == (True, 403)


async def test_head_and_unfinished_and_unknown_are_answered_here(server: RunningServer) -> None:
    """Only the bytes of a complete upload come from S3."""
    unfinished = await create(server.url, 10, TUS)
    assert (await request("HEAD", unfinished, TUS)).status == 200
    assert (await request("GET", unfinished, TUS)).status == 404
    assert (await request("GET", server.url + "unknown", TUS)).status == 404
    url = await upload(server, b"0123")
    head = await request("HEAD", url, TUS)
    assert (head.status, head.offset) == (200, 4)
    assert (await request("GET", url, {**TUS, "If-None-Match": head.headers["etag"]})).status == 304
    assert (await request("GET", url, {**TUS, "Range": "bytes=9-"})).status == 416
    matched = await request("GET", url, {**TUS, "If-Match": head.headers["etag"]})
    assert (matched.status, matched.body) == (200, b"0123")
    empty = await create(server.url, 0, TUS)
    assert (await request("GET", empty, TUS)).status == 200


async def test_a_url_expires(s3: S3Server, tmp_path: Path) -> None:
    """``s3.download_seconds`` is in the URL, and is a part of what is signed."""
    more = {"S3__DOWNLOAD": "redirect", "S3__DOWNLOAD_SECONDS": "77"}
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    try:
        signed = redirected(await request("GET", await upload(server, b"0123"), TUS))
        assert "X-Amz-Expires=77&" in signed
        assert (get(signed).body, get(signed.replace("Expires=77", "Expires=777")).status) == (b"0123", 403)
    finally:
        server.stop()


async def test_access_is_checked_before(s3: S3Server, tmp_path: Path) -> None:
    """Another user gets 404 and no URL; a link for a single use is streamed, and does not work twice."""
    running = start(tmp_path / "data", **settings(s3, S3__DOWNLOAD="redirect"))
    try:
        source = await made(running, "upload-links", length=10)
        await request("PATCH", source["url"], patch_headers(0), b"0123456789")
        url = running.url + source["upload_id"]
        assert get(redirected(await request("GET", url, {**TUS, **ALICE}))).body == b"0123456789"
        refused = await request("GET", url, {**TUS, **BOB})
        assert (refused.status, "location" in refused.headers) == (404, False)
        assert (await request("GET", url, TUS)).status in (401, 404)
        many = await made(running, "download-links", upload_id=source["upload_id"])
        assert get(redirected(await request("GET", many["url"], {}))).body == b"0123456789"
        once = await made(running, "download-links", upload_id=source["upload_id"], single_use=True)
        assert (await request("GET", once["url"], {})).body == b"0123456789"
        assert (await request("GET", once["url"], {})).status == 403
    finally:
        running.stop()


@pytest.mark.parametrize("size", [100, 6 * MIB])
async def test_attributes_and_key(s3: S3Server, tmp_path: Path, size: int) -> None:
    """Small and large objects are found under the key of the pattern, with tags, type and name; DELETE finds them."""
    more = {
        "S3__KEY_PATTERN": "files/{yyyy}/{id}/{filename}",
        "S3__TAGS": json.dumps(["app=tusd-py", "name={filename}"]),
        "S3__CACHE_CONTROL": "max-age=60",
        "S3__CONTENT_TYPE": "client",
        "S3__CONTENT_DISPOSITION": "true",
    }
    server = start_server(tmp_path / "data", settings=settings(s3, **more))
    client = s3.client()
    try:
        body = bytes(content(61, size))
        url = await upload(server, body, filename="a b.csv", filetype="text/csv")
        upload_id = url.rsplit("/", 1)[1]
        [key] = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET, Prefix="files/")["Contents"]]
        assert [segment.partition(".")[0] for segment in key.split("/")[2:]] == [upload_id, "a b"]
        assert key.endswith("/a b.csv")
        found = client.head_object(Bucket=BUCKET, Key=key)
        shown = [found[name] for name in ("ContentType", "ContentDisposition", "CacheControl")]
        assert shown == ["text/csv", 'attachment; filename="a b.csv"', "max-age=60"]
        tags = client.get_object_tagging(Bucket=BUCKET, Key=key).get("TagSet", ())
        # It ignores those of objects that are sent in parts, and a start warns of it (docs/s3.md).
        ignored = s3.kind == RGW and size > 5 * MIB
        expected = {} if ignored else {"app": "tusd-py", "name": "a b.csv"}
        assert {each["Key"]: each["Value"] for each in tags} == expected
        got = await request("GET", url, TUS)
        assert (got.status, got.body == body) == (200, True)
        assert (await request("DELETE", url, TUS)).status == 204
        assert "Contents" not in client.list_objects_v2(Bucket=BUCKET, Prefix="files/")
    finally:
        server.stop()
