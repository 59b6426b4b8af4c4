"""The page's routes: what is served, under which headers, and that the vendored files are what VENDOR.md says."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tusd_py.web.page import page_routes

PAGE = files("tusd_py.web") / "page"
VENDOR = PAGE / "vendor"


def page_client(endpoint: str = "/files/") -> TestClient:
    return TestClient(Starlette(routes=page_routes(endpoint)))


def told_endpoint(html: str) -> str:
    match = re.search(r'<meta name="tus-endpoint" content="([^"]*)">', html)
    assert match is not None
    return match[1]


def assets_named(html: str) -> list[str]:
    return re.findall(r'(?:href|src)="(\./page/[^"]+)"', html)


def directive(policy: str, name: str) -> list[str]:
    return next(words[1:] for words in map(str.split, policy.split(";")) if words[0] == name)


def test_vendored_files_have_their_noted_sums() -> None:
    """Each vendored file has the sha256 in VENDOR.md, and no file is missing from it."""
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


def test_every_file_the_page_names_is_served() -> None:
    """Each style sheet, script and picture in the page, and each module a script imports, is there and not empty."""
    client = page_client()
    named = assets_named(client.get("/").text)
    assert len(named) >= 5
    for path in named:
        answer = client.get(path)
        assert answer.status_code == 200
        for imported in re.findall(r"^import .* from '\./([^']+)'", answer.text, re.MULTILINE):
            assert client.get(path.rsplit("/", 1)[0] + "/" + imported).content


def test_no_placeholder_is_left() -> None:
    """The page as sent holds values, not the names they stand under in the source."""
    assert "{{" not in page_client().get("/").text


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("page.mjs", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_media_types_are_exact(name: str, media_type: str) -> None:
    """With ``nosniff`` a browser runs a module only under a JavaScript type, so types are named, never guessed."""
    client = page_client()
    answer = client.get(f"{assets_named(client.get('/').text)[0].rsplit('/', 1)[0]}/{name}")
    assert media_type == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """The policy starts from nothing, and allows neither inline nor evaluated scripts and styles."""
    policy = page_client().get("/").headers["content-security-policy"]
    assert ["'none'"] == directive(policy, "default-src")
    assert ["'self'"] == directive(policy, "script-src")
    assert ["'self'"] == directive(policy, "style-src")
    assert ["'self'"] == directive(policy, "connect-src")
    assert ["'none'"] == directive(policy, "frame-ancestors")


def test_an_endpoint_elsewhere_may_be_reached() -> None:
    """An endpoint with an origin of its own is told as it is, and its origin alone joins ``connect-src``."""
    answer = page_client("https://up.example.org:8443/files/").get("/")
    assert "https://up.example.org:8443/files/" == told_endpoint(answer.text)
    allowed = directive(answer.headers["content-security-policy"], "connect-src")
    assert ["'self'", "https://up.example.org:8443"] == allowed


def test_the_endpoint_is_relative_and_never_from_host() -> None:
    """A path is told relative to the page, whatever Host says, and so holds behind every prefix."""
    html = page_client().get("/", headers={"Host": "evil.example"}).text
    assert "./files/" == told_endpoint(html)
    assert "evil.example" not in html


def test_the_endpoint_is_escaped() -> None:
    """Characters that mean something in HTML stay what they are: part of an address."""
    assert "./a&quot;&lt;b&gt;/" == told_endpoint(page_client('/a"<b>/').get("/").text)


def test_the_page_works_mounted_below_a_prefix() -> None:
    """All addresses in the page are relative, so that they are found below the mount too."""
    client = TestClient(Starlette(routes=[Mount("/inner", routes=page_routes("/files/"))]))
    page = client.get("/inner")
    assert "/inner/" == page.url.path
    for path in assets_named(page.text):
        assert client.get("/inner/" + path).status_code == 200


def test_assets_are_kept_for_ever_and_the_page_never_unasked() -> None:
    """What the digest names never changes; the page that names it is asked for again each time."""
    client = page_client()
    page = client.get("/")
    assert "no-cache" == page.headers["cache-control"]
    assert "public, max-age=31536000, immutable" == client.get(assets_named(page.text)[0]).headers["cache-control"]


def test_an_outdated_digest_is_not_kept() -> None:
    """A page from before an upgrade still works, but its answers are not stored under the old name."""
    answer = page_client().get("/page/0000000000000000/page.mjs")
    assert 200 == answer.status_code
    assert "no-cache" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    "name",
    ["index.html", "nothing.mjs", "../page.py", "vendor/", "vendor/VENDOR.md", ""],
)
def test_only_the_files_of_the_page_are_there(name: str) -> None:
    """Nothing but what the page uses has an address."""
    assert 404 == page_client().get(f"/page/x/{name.replace('..', '%2e%2e')}").status_code


@pytest.mark.parametrize(
    "if_none_match",
    ["{etag}", '"other", {etag}', "*", "{strong}"],
    ids=["same", "listed", "any", "strong"],
)
def test_an_unchanged_page_is_not_sent_again(if_none_match: str) -> None:
    """A tag that names the page, weakly compared, is answered 304 without a body but with the policy."""
    client = page_client()
    etag = client.get("/").headers["etag"]
    asked = if_none_match.format(etag=etag, strong=etag.removeprefix("W/"))
    answer = client.get("/", headers={"If-None-Match": asked})
    assert (304, b"") == (answer.status_code, answer.content)
    assert "content-security-policy" in answer.headers


def test_a_changed_page_is_sent() -> None:
    """A tag of something else is no reason for 304."""
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
def test_files_are_compressed_for_whoever_takes_it(accept_encoding: str, compressed: bool) -> None:
    """Both forms hold the same bytes; caches are told that they differ."""
    client = page_client()
    path = f"{assets_named(client.get('/').text)[0].rsplit('/', 1)[0]}/vendor/uppy.min.mjs"
    with client.stream("GET", path, headers={"Accept-Encoding": accept_encoding}) as answer:
        sent = b"".join(answer.iter_raw())
    assert compressed == (answer.headers.get("content-encoding") == "gzip")
    assert (VENDOR / "uppy.min.mjs").read_bytes() == (gzip.decompress(sent) if compressed else sent)
    assert str(len(sent)) == answer.headers["content-length"]
    assert "Accept-Encoding" == answer.headers["vary"]


def test_head_answers_as_get_does_without_a_body() -> None:
    """HEAD has the fields of GET, the length of its body among them, and no body."""
    client = page_client()
    got, head = client.get("/"), client.head("/")
    assert b"" == head.content
    assert dict(got.headers) == dict(head.headers)


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet by name, light and dark."""
    sheet = (PAGE / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    colours = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block)) for block in (light, dark)]
    return {"light": colours[0], "dark": colours[0] | colours[1]}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [(text, ground) for text in ("text", "soft", "accent", "accent-strong") for ground in ("ground", "surface")]
    + [("text", "accent-ground"), ("warn", "warn-ground")],
)
def test_text_is_legible(scheme: str, text: str, ground: str) -> None:
    """Text has a contrast of 4.5 or more with what it stands on (WCAG 2.2, 1.4.3), in both schemes."""
    colours = palettes()[scheme]
    darker, lighter = sorted(luminance(colours[name]) for name in (text, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@pytest.mark.parametrize("button", ["button", "button-strong"])
def test_buttons_are_legible(button: str) -> None:
    """White on a filled button has the same contrast."""
    assert 1.05 / (luminance(palettes()["light"][button]) + 0.05) >= 4.5
