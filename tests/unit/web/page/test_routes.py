"""The page's routes: loading, files, headers, and the checksums of the vendored files in VENDOR.md."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.unit.web.asgi import ask
from tusd_py.web.page.files import PageOptions
from tusd_py.web.page.logo import Logo
from tusd_py.web.page.routes import DIRECTORY, page_routes

VENDOR = DIRECTORY / "vendor"


def page_client(endpoint: str = "/files/") -> TestClient:
    return TestClient(Starlette(routes=page_routes(PageOptions(endpoint=endpoint))))


def endpoint_in(html: str) -> str:
    match = re.search(r'<meta name="tus-endpoint" content="([^"]*)">', html)
    assert match is not None
    return match[1]


def asset_paths(html: str) -> list[str]:
    return re.findall(r'(?:href|src)="(\./page/[^"]+)"', html)


def directive(policy: str, name: str) -> list[str]:
    return next(words[1:] for words in map(str.split, policy.split(";")) if words[0] == name)


def test_vendored_files_have_the_checksums_of_vendor_md() -> None:
    """VENDOR.md lists every vendored file with its sha256."""
    noted = dict(
        re.findall(
            r"^\| `(\S+)` \|.*\| `([0-9a-f]{64})` \|$",
            (VENDOR / "VENDOR.md").read_text(),
            re.MULTILINE,
        )
    )
    actual = {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()
        for entry in VENDOR.iterdir()
        if entry.name != "VENDOR.md"
    }
    assert noted == actual


def test_every_referenced_file_is_served_200() -> None:
    """Each style sheet, script and picture of the page, and each module that a script imports, is served."""
    client = page_client()
    named = asset_paths(client.get("/").text)
    assert len(named) >= 5
    for path in named:
        answer = client.get(path)
        assert answer.status_code == 200
        for imported in re.findall(r"^import .* from '\./([^']+)'", answer.text, re.MULTILINE):
            assert client.get(path.rsplit("/", 1)[0] + "/" + imported).content


def test_placeholders_are_filled_in() -> None:
    """The page as sent contains no placeholder of the source."""
    assert "{{" not in page_client().get("/").text


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("page.mjs", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_media_types(name: str, media_type: str) -> None:
    """With ``nosniff`` a browser runs a module only if its type is JavaScript."""
    client = page_client()
    answer = client.get(f"{asset_paths(client.get('/').text)[0].rsplit('/', 1)[0]}/{name}")
    assert media_type == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_logo_in_svg_runs_no_scripts() -> None:
    """A picture that is opened by itself gets a policy that lets it run nothing: it shares the page's origin."""
    logo = Logo(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", ".svg")
    client = TestClient(Starlette(routes=page_routes(PageOptions(endpoint="/files/", logo=logo))))
    path = next(path for path in asset_paths(client.get("/").text) if path.endswith("/logo.svg"))
    answer = client.get(path)
    assert (200, logo.body) == (answer.status_code, answer.content)
    assert "image/svg+xml" == answer.headers["content-type"]
    policy = answer.headers["content-security-policy"]
    assert ["'none'"] == directive(policy, "default-src")
    assert [] == directive(policy, "sandbox")


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [("de-AT,de;q=0.9,en;q=0.8", "de"), ("fr", "fr"), ("es", "en"), ("en;q=0.1, fr;q=0.2", "fr"), (None, "en")],
)
def test_language_is_negotiated(accept_language: str | None, language: str) -> None:
    """The page is in the language that the visitor prefers; caches are told, and so is the browser."""
    headers = {} if accept_language is None else {"Accept-Language": accept_language}
    answer = page_client().get("/", headers=headers)
    assert language == answer.headers["content-language"]
    assert "Accept-Encoding, Accept-Language" == answer.headers["vary"]
    assert f'<html lang="{language}">' in answer.text


def test_languages_have_tags_of_their_own() -> None:
    """A page in another language is another representation: the tag of one does not match the other."""
    client = page_client()
    german = client.get("/", headers={"Accept-Language": "de"})
    headers = {"If-None-Match": german.headers["etag"]}
    assert 304 == client.get("/", headers={**headers, "Accept-Language": "de-CH"}).status_code
    assert 200 == client.get("/", headers={**headers, "Accept-Language": "fr"}).status_code


def test_content_security_policy() -> None:
    """The policy allows only the page's own origin, and neither inline nor evaluated scripts and styles."""
    policy = page_client().get("/").headers["content-security-policy"]
    assert ["'none'"] == directive(policy, "default-src")
    assert ["'self'"] == directive(policy, "script-src")
    assert ["'self'"] == directive(policy, "style-src")
    assert ["'self'"] == directive(policy, "connect-src")
    assert ["'none'"] == directive(policy, "frame-ancestors")


def test_endpoint_on_another_origin_is_allowed() -> None:
    """The URL of an endpoint on another origin is used as it is, and its origin is added to ``connect-src``."""
    answer = page_client("https://up.example.org:8443/files/").get("/")
    assert "https://up.example.org:8443/files/" == endpoint_in(answer.text)
    allowed = directive(answer.headers["content-security-policy"], "connect-src")
    assert ["'self'", "https://up.example.org:8443"] == allowed


def test_endpoint_is_relative_to_the_page() -> None:
    """A path is made relative to the page, so it is right behind any prefix; Host is not used."""
    html = page_client().get("/", headers={"Host": "evil.example"}).text
    assert "./files/" == endpoint_in(html)
    assert "evil.example" not in html


def test_endpoint_is_escaped_in_html() -> None:
    """Characters that are special in HTML are escaped."""
    assert "./a&quot;&lt;b&gt;/" == endpoint_in(page_client('/a"<b>/').get("/").text)


def test_page_works_below_a_mount() -> None:
    """All URLs in the page are relative, so they are right below a mount."""
    client = TestClient(Starlette(routes=[Mount("/inner", routes=page_routes(PageOptions(endpoint="/files/")))]))
    page = client.get("/inner")
    assert "/inner/" == page.url.path
    for path in asset_paths(page.text):
        assert client.get("/inner/" + path).status_code == 200


def test_assets_are_immutable_and_the_page_is_revalidated() -> None:
    """Assets under the current digest may be cached for a year; the page must be revalidated each time."""
    client = page_client()
    page = client.get("/")
    assert "no-cache" == page.headers["cache-control"]
    assert "public, max-age=31536000, immutable" == client.get(asset_paths(page.text)[0]).headers["cache-control"]


def test_outdated_digest_must_be_revalidated() -> None:
    """A page from before an upgrade still gets its files, but caches must not keep them under the old path."""
    answer = page_client().get("/page/0000000000000000/page.mjs")
    assert 200 == answer.status_code
    assert "no-cache" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    "name",
    ["index.html", "nothing.mjs", "../page.py", "vendor/", "vendor/VENDOR.md", ""],
)
def test_other_files_404(name: str) -> None:
    """Only the files that the page uses are served."""
    assert 404 == page_client().get(f"/page/x/{name.replace('..', '%2e%2e')}").status_code


@pytest.mark.parametrize(
    "if_none_match",
    ["{etag}", '"other", {etag}', "*", "{strong}"],
    ids=["same", "listed", "any", "strong"],
)
def test_matching_etag_304(if_none_match: str) -> None:
    """If-None-Match with the page's tag, weakly compared, is answered 304 with the policy and no body."""
    client = page_client()
    etag = client.get("/").headers["etag"]
    listed = if_none_match.format(etag=etag, strong=etag.removeprefix("W/"))
    answer = client.get("/", headers={"If-None-Match": listed})
    assert (304, b"") == (answer.status_code, answer.content)
    assert "content-security-policy" in answer.headers


def test_other_etag_200() -> None:
    """If-None-Match with another tag is answered with the page."""
    assert 200 == page_client().get("/", headers={"If-None-Match": 'W/"other"'}).status_code


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [
        ("gzip, br", True),
        ("br;q=1, GZIP ; q=0.1", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
    ],
)
def test_gzip_is_negotiated(accept_encoding: str, compressed: bool) -> None:
    """A client that accepts gzip gets it; both forms have the same content, and Vary names the header."""
    client = page_client()
    path = f"{asset_paths(client.get('/').text)[0].rsplit('/', 1)[0]}/vendor/uppy.min.mjs"
    with client.stream("GET", path, headers={"Accept-Encoding": accept_encoding}) as answer:
        sent = b"".join(answer.iter_raw())
    assert compressed == (answer.headers.get("content-encoding") == "gzip")
    assert (VENDOR / "uppy.min.mjs").read_bytes() == (gzip.decompress(sent) if compressed else sent)
    assert str(len(sent)) == answer.headers["content-length"]
    assert "Accept-Encoding" == answer.headers["vary"]


def test_head_has_the_headers_of_get() -> None:
    """HEAD has the headers of GET, Content-Length included, and no body."""
    client = page_client()
    got, head = client.get("/"), client.head("/")
    assert b"" == head.content
    assert dict(got.headers) == dict(head.headers)


# Loading


def test_files_are_read_once_and_kept(tmp_path: Path) -> None:
    """No file is read before the first request, and none after it: the page is served without its directory."""
    directory = tmp_path / "page"
    client = TestClient(Starlette(routes=page_routes(PageOptions(endpoint="/files/"), directory)))
    shutil.copytree(DIRECTORY, directory)
    page = client.get("/")
    shutil.rmtree(directory)
    assert page.status_code == 200
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    for path in asset_paths(page.text):
        assert client.get(path).status_code == 200


@pytest.mark.anyio
async def test_loading_does_not_block_the_event_loop(tmp_path: Path) -> None:
    """While a file is being read, the event loop runs other tasks; concurrent first requests read the files once."""
    (tmp_path / "index.html").write_text("<p>{{endpoint}}</p>")
    shutil.copytree(DIRECTORY / "texts", tmp_path / "texts")
    slow = tmp_path / "slow.css"
    os.mkfifo(slow)  # reading it blocks until it is written
    app = Starlette(routes=page_routes(PageOptions(endpoint="/files/"), tmp_path))
    requests = [asyncio.create_task(ask(app, "GET", "/")) for _ in range(2)]
    await asyncio.to_thread(slow.write_bytes, b"p { color: red }")
    for answer in await asyncio.gather(*requests):
        assert (answer.status, answer.body) == (200, b"<p>./files/</p>")
