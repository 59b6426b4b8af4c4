"""What happens to an upload that does not run through: paused, reloaded, or cut off from its server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.upload_page import UploadPage, visit
from tests.support.content import MIB, content, sha256
from tests.support.server import RunningServer, start_server

RATE = 4 * MIB
LENGTH = 24 * MIB


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """A file that takes six seconds at ``RATE``: its middle is long enough to be met, never waited out."""
    path = tmp_path / "film.mp4"
    path.write_bytes(content(20, LENGTH))
    return path


def assert_resumed(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """Hold that the whole file arrived in one upload, in pieces of which the last began in the middle."""
    assert sha256(chosen.read_bytes()) == sha256(server.stored(page.link(chosen.name)))
    assert 1 == len(page.sent("POST"))
    first, *_, last = page.offsets()
    assert 0 == first < last < chosen.stat().st_size


def test_pause_and_resume(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """While paused nothing is sent; afterwards the upload goes on from where it stopped."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.press("Pause")
    expect(page.tab.get_by_text(re.compile(r"^Paused: \d+%$"))).to_be_visible()
    page.wait_until_ended("PATCH")
    assert 1 == len(page.sent("PATCH"))
    page.throttle(None)
    page.press("Resume")
    page.wait_for_uploaded(1)
    assert 2 == len(page.sent("PATCH"))
    assert_resumed(page, server, chosen)


def test_reload_in_the_middle(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """After a reload the upload goes on by itself, from where it stopped."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.wait_until_kept()
    page.tab.reload()
    page.throttle(None)
    page.wait_for_uploaded(1)
    assert_resumed(page, server, chosen)


def test_reload_while_paused(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """What was paused stays so over a reload, until the person resumes it."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.press("Pause")
    expect(page.tab.get_by_text(re.compile(r"^Paused: \d+%$"))).to_be_visible()
    page.throttle(None)
    page.wait_until_kept(paused=True)
    page.tab.reload()
    expect(page.tab.get_by_text("Session restored")).to_be_visible()
    assert 1 == len(page.sent("PATCH"))
    page.press("Resume 1 upload")
    page.wait_for_uploaded(1)
    assert_resumed(page, server, chosen)


def test_a_file_too_big_for_the_browser_is_chosen_again(
    page: UploadPage, server: RunningServer, tmp_path: Path
) -> None:
    """A file over 64 MB is not kept by the browser: after a reload the page asks for it, and sends only the rest."""
    chosen = tmp_path / "archive.tar"
    chosen.write_bytes(bytes(content(21, 64 * MIB)) + bytes(content(22, MIB)))
    page.throttle(16 * MIB)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.wait_until_kept(with_bytes=False)
    page.tab.reload()
    expect(page.tab.get_by_text("Choose it again, and only the rest is sent")).to_be_visible()
    page.throttle(None)
    page.press("Choose again")
    page.choose(chosen)
    page.wait_for_uploaded(1)
    assert_resumed(page, server, chosen)


def test_a_second_tab_leaves_the_first_alone(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """The page opened again beside a running upload neither shows it as restored nor sends its bytes."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(10)
    second = page.context.new_page()
    second.goto(page.url)
    # The second tab decides within a second whether to restore; the upload outlasts that.
    expect(second.get_by_text("This page is open in another tab too")).to_be_visible()
    expect(second.locator(".uppy-Dashboard-Item")).to_have_count(0)
    page.throttle(None)
    page.wait_for_uploaded(1)
    assert [0] == page.offsets()
    expect(second.locator("#uploaded-list li")).to_have_count(1)


def test_the_server_is_killed_in_the_middle(browser: Browser, mortal_server: RunningServer, chosen: Path) -> None:
    """The page says that the server is away, and once it is back goes on without being touched."""
    with visit(browser, mortal_server) as page:
        page.throttle(RATE)
        page.choose(chosen)
        page.wait_until_sent(50)
        mortal_server.kill()
        status = page.tab.get_by_role("status").filter(has_text="The server cannot be reached")
        expect(status).to_be_visible()
        page.throttle(None)
        again = start_server(mortal_server.data_dir, port=mortal_server.port)
        try:
            page.wait_for_uploaded(1)
            expect(status).to_have_count(0)
            assert_resumed(page, again, chosen)
        finally:
            again.stop()
