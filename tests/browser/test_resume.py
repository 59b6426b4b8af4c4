"""Uploads that are interrupted: paused, reloaded, or cut off by a killed server."""

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
    """A file that takes six seconds at ``RATE``, so that a test can interrupt its upload."""
    path = tmp_path / "film.mp4"
    path.write_bytes(content(20, LENGTH))
    return path


def assert_resumed(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """Check that the file is complete in one upload and that the last PATCH began in its middle."""
    assert sha256(chosen.read_bytes()) == sha256(server.stored(page.link(chosen.name)))
    assert 1 == len(page.sent("POST"))
    first, *_, last = page.offsets()
    assert 0 == first < last < chosen.stat().st_size


def test_paused_upload_resumes_at_its_offset(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """While paused nothing is sent; afterwards the upload continues from its offset."""
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


def test_reloaded_page_resumes_by_itself(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """After a reload the upload continues from its offset without any action."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.wait_until_kept()
    page.tab.reload()
    page.throttle(None)
    page.wait_for_uploaded(1)
    assert_resumed(page, server, chosen)


def test_paused_upload_stays_paused_after_a_reload(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """A paused upload is still paused after a reload, until the user resumes it."""
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


def test_large_file_must_be_chosen_again_after_a_reload(
    page: UploadPage, server: RunningServer, tmp_path: Path
) -> None:
    """The browser does not store a file over 64 MB: after a reload the page asks for it and sends only the rest."""
    chosen = tmp_path / "archive.tar"
    chosen.write_bytes(bytes(content(21, 64 * MIB)) + bytes(content(22, MIB)))
    page.throttle(16 * MIB)
    page.choose(chosen)
    page.wait_until_sent(30)
    page.wait_until_kept(with_bytes=False)
    page.tab.reload()
    expect(page.tab.get_by_role("heading", name="Choose one file again")).to_be_visible()
    expect(page.tab.locator("#again-list li")).to_have_text(["archive.tar"])
    expect(page.tab.locator(".uppy-Dashboard-Item")).to_have_count(0)
    page.throttle(None)
    page.choose(chosen)
    page.wait_for_uploaded(1)
    expect(page.tab.locator("#again")).to_be_hidden()
    assert_resumed(page, server, chosen)


def test_second_tab_does_not_restore_the_upload(page: UploadPage, server: RunningServer, chosen: Path) -> None:
    """A second tab neither shows the running upload nor sends its bytes."""
    page.throttle(RATE)
    page.choose(chosen)
    page.wait_until_sent(10)
    second = page.context.new_page()
    second.goto(page.url)
    # The second tab decides within a second whether to restore; the upload takes longer.
    expect(second.get_by_text("This page is also open in another tab")).to_be_visible()
    expect(second.locator(".uppy-Dashboard-Item")).to_have_count(0)
    page.throttle(None)
    page.wait_for_uploaded(1)
    assert [0] == page.offsets()
    expect(second.locator("#uploaded-list li")).to_have_count(1)


def test_upload_continues_after_the_server_restarts(
    browser: Browser, mortal_server: RunningServer, chosen: Path
) -> None:
    """The page reports that the server cannot be reached, and continues by itself when it is back."""
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
