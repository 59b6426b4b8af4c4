"""The page for people with an account: login, tokens that expire in the middle of an upload, quotas and refusals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.upload_page import PHONE, UploadPage, visit
from tests.support.command import run_beside
from tests.support.content import MIB, content, sha256
from tests.support.server import RunningServer, start_server

PASSWORD = "a password of the tests"
EXPECTED = "unexpected response"  # Uppy writes each refusal to the console


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for people with an account, whose owners may upload 40 MiB a day."""
    settings = {
        "ACCESS__ANONYMOUS": "none",
        "ACCOUNTS__ENABLED": "true",
        "ACCOUNTS__ACCESS_SECONDS": "60",
        "QUOTAS__ENABLED": "true",
        "QUOTAS__BYTES_PER_DAY": "40MiB",
    }
    server = start_server(tmp_path_factory.mktemp("guarded") / "data", settings=settings)
    try:
        for name, role in (("alice", "uploader"), ("bob", "uploader"), ("victor", "viewer")):
            run_beside(server, "user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")
        yield server
    finally:
        server.stop()


@pytest.fixture
def door(browser: Browser, guarded: RunningServer) -> Iterator[UploadPage]:
    """The page before the login."""
    with visit(browser, guarded, expected=EXPECTED, opened=False) as page:
        yield page


def log_in(page: UploadPage, name: str, password: str = PASSWORD) -> None:
    page.tab.get_by_label("Name").fill(name)
    page.tab.get_by_label("Password").fill(password)
    page.tab.locator("#login").get_by_role("button", name="Log in").click()


def test_login_comes_before_uploads(door: UploadPage, guarded: RunningServer, tmp_path: Path) -> None:
    """Without a login nothing can be chosen; a wrong password is told; after the login files are uploaded.

    The login outlasts a reload, and ends with "Log out".
    """
    expect(door.tab.get_by_label("Password")).to_be_visible()
    expect(door.tab.locator(".uppy-Dashboard-inner")).to_have_count(0)
    assert [] == door.barriers()
    log_in(door, "alice", "wrong password")
    expect(door.tab.locator("#login [role=alert]")).to_have_text("the name or the password is wrong")
    assert [] == door.barriers()
    log_in(door, "alice")
    expect(door.tab.get_by_text("Logged in as alice")).to_be_visible()
    chosen = tmp_path / "letter.txt"
    chosen.write_bytes(content(1, 5000))
    door.choose(chosen)
    door.wait_for_uploaded(1)
    assert chosen.read_bytes() == guarded.stored(door.link("letter.txt"))
    with door.tab.expect_download() as saving:
        door.uploaded.get_by_role("link").click()
    assert chosen.read_bytes() == Path(saving.value.path()).read_bytes()
    assert [] == door.barriers()
    door.tab.reload()
    expect(door.tab.get_by_text("Logged in as alice")).to_be_visible()
    door.wait_for_uploaded(1)
    door.press("Log out")
    expect(door.tab.get_by_label("Password")).to_be_visible()
    assert [] == [cookie["name"] for cookie in door.context.cookies()]


def test_visitors_of_one_browser_are_kept_apart(door: UploadPage, tmp_path: Path) -> None:
    """A person that logs in after another one neither sees nor continues the uploads of the first."""
    log_in(door, "alice")
    expect(door.tab.get_by_text("Logged in as alice")).to_be_visible()
    (tmp_path / "private.bin").write_bytes(b"x")
    door.choose(tmp_path / "private.bin")
    door.wait_for_uploaded(1)
    door.throttle(MIB)
    (tmp_path / "unfinished.bin").write_bytes(content(5, 4 * MIB))
    door.choose(tmp_path / "unfinished.bin")
    door.wait_until_sent(10)
    door.press("Pause")
    door.wait_until_kept(paused=True)
    door.press("Log out")
    expect(door.tab.get_by_label("Password")).to_be_visible()
    log_in(door, "bob")
    expect(door.tab.get_by_text("Logged in as bob")).to_be_visible()
    expect(door.tab.locator(".uppy-Dashboard-inner")).to_be_visible()
    expect(door.tab.get_by_text("private.bin")).to_have_count(0)
    expect(door.tab.get_by_text("unfinished.bin")).to_have_count(0)
    door.press("Log out")
    log_in(door, "alice")
    door.wait_for_uploaded(1)
    expect(door.tab.locator(".uppy-Dashboard-Item-name")).to_have_text("unfinished.bin")
    expect(door.tab.get_by_role("button", name="Resume 1 upload")).to_be_visible()


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_token_that_ends_in_the_middle_is_renewed(
    door: UploadPage, guarded: RunningServer, tmp_path: Path, how: str
) -> None:
    """An upload goes on at its offset after its access token was renewed, without asking the person.

    The token is renewed before its end, and after a 401 as well.
    """
    log_in(door, "bob")
    chosen = tmp_path / f"{how}.bin"
    chosen.write_bytes(content(2, 8 * MIB))
    door.throttle(2 * MIB)
    door.choose(chosen)
    door.wait_until_sent(30)
    door.press("Pause")
    if how == "expired":
        door.tab.evaluate("localStorage.setItem('tusd-py access token expires', 0)")
    else:
        door.spoil_cookie("tusd_session")
    door.throttle(None)
    door.press("Resume")
    door.wait_for_uploaded(1)
    assert sha256(chosen.read_bytes()) == sha256(guarded.stored(door.link(chosen.name)))
    assert 1 == len([request for request in door.sent("POST") if request.url == guarded.url])
    assert 1 == len([request for request in door.sent("POST") if request.url.endswith("/auth/refresh")])
    assert door.offsets()[-1] > 0


def test_token_of_parallel_uploads_is_renewed(door: UploadPage, guarded: RunningServer, tmp_path: Path) -> None:
    """When six running uploads are refused at once, one renewal lets all of them go on."""
    log_in(door, "bob")
    chosen = [tmp_path / f"parallel-{number}.bin" for number in range(6)]
    for number, path in enumerate(chosen):
        path.write_bytes(content(10 + number, 300_000))
    expect(door.tab.locator(".uppy-Dashboard-inner")).to_be_visible()
    door.spoil_cookie("tusd_session")
    door.choose(*chosen)
    door.wait_for_uploaded(6)
    for path in chosen:
        assert path.read_bytes() == guarded.stored(door.link(path.name))
    expect(door.tab.locator("#refused")).to_be_hidden()


def test_upload_waits_for_a_new_login(door: UploadPage, guarded: RunningServer, tmp_path: Path) -> None:
    """A session that has ended does not end the upload: it waits until the person has logged in again."""
    log_in(door, "bob")
    chosen = tmp_path / "patient.bin"
    chosen.write_bytes(content(3, 8 * MIB))
    door.throttle(2 * MIB)
    door.choose(chosen)
    door.wait_until_sent(30)
    door.press("Pause")
    for name in ("tusd_session", "tusd_refresh"):
        door.spoil_cookie(name)
    door.throttle(None)
    door.press("Resume")
    expect(door.tab.get_by_text("Your access has ended")).to_be_visible()
    log_in(door, "bob")
    door.wait_for_uploaded(1)
    assert sha256(chosen.read_bytes()) == sha256(guarded.stored(door.link(chosen.name)))
    assert door.offsets()[-1] > 0


def test_jwt_in_a_cookie_that_ends_in_the_middle(browser: Browser, tmp_path: Path) -> None:
    """Where another application sets the token, the page says that it has ended; the upload goes on with a new one."""
    secret = "a secret of the tests with enough bytes in it"
    settings = {"ACCESS__ANONYMOUS": "none", "JWT__SECRET": secret, "JWT__COOKIE": "app_token"}
    server = start_server(tmp_path / "data", settings=settings)

    def put_token(page: UploadPage, lives_seconds: int) -> None:
        token = jwt.encode({"sub": "ada", "exp": int(time.time()) + lives_seconds}, secret, "HS256")
        page.context.add_cookies([{"name": "app_token", "value": token, "url": server.root}])

    try:
        with visit(browser, server, expected=EXPECTED) as page:
            put_token(page, 3600)
            chosen = tmp_path / "long.bin"
            chosen.write_bytes(content(4, 8 * MIB))
            page.throttle(2 * MIB)
            page.choose(chosen)
            page.wait_until_sent(30)
            page.press("Pause")
            put_token(page, -120)
            page.throttle(None)
            page.press("Resume")
            expect(page.tab.get_by_text("Your login is not accepted any more")).to_be_visible()
            put_token(page, 3600)
            page.tab.get_by_role("button", name="Retry upload").first.click()
            page.wait_for_uploaded(1)
            assert sha256(chosen.read_bytes()) == sha256(server.stored(page.link(chosen.name)))
            assert 1 == len(page.sent("POST"))
            assert page.offsets()[-1] > 0
    finally:
        server.stop()


def test_quota_is_told_413(door: UploadPage, tmp_path: Path) -> None:
    """The person learns which quota it is, how much of it is used, and when it begins anew; nothing is tried again."""
    log_in(door, "alice")
    (tmp_path / "large.bin").write_bytes(bytes(41 * MIB))
    door.choose(tmp_path / "large.bin")
    refused = door.tab.locator("#refused-list li")
    expect(refused).to_contain_text("large.bin: Your quota for a day: ")
    expect(refused).to_contain_text(" of 40 MB are used. It is reset on ")
    expect(door.tab.get_by_role("button", name="Retry")).to_have_count(0)
    assert [] == door.barriers()


def test_role_that_may_not_upload_is_told_403(door: UploadPage, tmp_path: Path) -> None:
    """A person who may only read gets the server's sentence."""
    log_in(door, "victor")
    (tmp_path / "small.bin").write_bytes(b"x")
    door.choose(tmp_path / "small.bin")
    expect(door.tab.locator("#refused-list li")).to_have_text("small.bin: this request is not allowed")


@pytest.mark.parametrize(
    ("locale", "button", "refusal"),
    [
        ("de", "Anmelden", "Der Name oder das Passwort ist falsch."),
        ("fr", "Se connecter", "Le nom ou le mot de passe est faux."),
    ],
)
def test_login_on_a_phone(browser: Browser, guarded: RunningServer, locale: str, button: str, refusal: str) -> None:
    """The form is in the language of the browser, large enough for fingers, and without a barrier."""
    with visit(browser, guarded, expected=EXPECTED, opened=False, locale=locale, **PHONE) as page:
        page.tab.locator("#login-name").fill("alice")
        page.tab.locator("#login-password").fill("wrong")
        page.tab.locator("#login").get_by_role("button", name=button).tap()
        expect(page.tab.locator("#login [role=alert]")).to_have_text(refusal)
        assert [] == page.small_targets()
        assert [] == page.barriers()
        assert 390 == page.tab.evaluate("document.documentElement.scrollWidth")


def test_login_is_offered_where_nobody_needs_one(browser: Browser, tmp_path: Path) -> None:
    """With anonymous uploads the page uploads at once, and a person may log in."""
    server = start_server(tmp_path / "data", settings={"ACCOUNTS__ENABLED": "true"})
    try:
        run_beside(server, "user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
        with visit(browser, server) as page:
            page.press("Log in")
            log_in(page, "alice")
            expect(page.tab.get_by_text("Logged in as alice")).to_be_visible()
            (tmp_path / "small.bin").write_bytes(b"x")
            page.choose(tmp_path / "small.bin")
            page.wait_for_uploaded(1)
    finally:
        server.stop()
