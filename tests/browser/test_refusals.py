"""What the page says when a file cannot be uploaded, or should not be sent at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.upload_page import UploadPage, visit
from tests.support.content import MIB, content
from tests.support.receiver import Answer, Receiver, receiving
from tests.support.server import RunningServer, start_server


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def strict_server(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes 1 MiB at most, and asks a receiver."""
    settings = {"UPLOADS__LENGTH_MAX": "1MiB", "HOOKS__HTTP_URLS": receiver.url, "HOOKS__ENABLED_EVENTS": "pre-create"}
    server = start_server(tmp_path_factory.mktemp("strict") / "data", settings=settings)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def strict_page(browser: Browser, strict_server: RunningServer) -> Iterator[UploadPage]:
    # Uppy writes each refusal to the console.
    with visit(browser, strict_server, expected="unexpected response") as opened:
        yield opened


def test_size_limit_is_told_before(strict_page: UploadPage, tmp_path: Path) -> None:
    """The page says how large a file may be, and sends nothing of a larger one."""
    expect(strict_page.tab.get_by_text("Files up to 1 MB")).to_be_visible()
    before = len(strict_page.sent("POST"))
    (tmp_path / "large.bin").write_bytes(bytes(2**20 + 1))
    strict_page.choose(tmp_path / "large.bin")
    expect(strict_page.tab.get_by_text("exceeds maximum allowed size").first).to_be_visible()
    assert before == len(strict_page.sent("POST"))


def test_refusal_shows_the_sentence_and_no_retry_400(
    strict_page: UploadPage, receiver: Receiver, tmp_path: Path
) -> None:
    """The file leaves the list of files to upload; the reason of the server stays on the page."""
    receiver.answers["pre-create"] = Answer({"RejectUpload": True, "HTTPResponse": {"Body": "only on weekdays"}})
    (tmp_path / "gpj\u202eexe.bin").write_bytes(content(1, 1000))
    strict_page.choose(tmp_path / "gpj\u202eexe.bin")
    refused = strict_page.tab.locator("#refused-list li")
    expect(refused).to_have_text("gpjexe.bin: only on weekdays")
    expect(strict_page.tab.get_by_role("button", name="Retry")).to_have_count(0)
    expect(strict_page.tab.locator(".uppy-Dashboard-Item")).to_have_count(0)
    receiver.answers.clear()
    (tmp_path / "welcome.bin").write_bytes(content(2, 1000))
    strict_page.choose(tmp_path / "welcome.bin")
    strict_page.wait_for_uploaded(1)


@pytest.mark.parametrize(
    ("locale", "sentence", "detail"),
    [
        ("de", "Der Server nimmt diese Datei nicht an.", "upload creation has been rejected by server"),
        ("fr", "Le serveur n\u2019accepte pas ce fichier.", "upload creation has been rejected by server"),
    ],
)
def test_refusal_is_told_in_the_language_of_the_page_400(
    browser: Browser,
    strict_server: RunningServer,
    receiver: Receiver,
    tmp_path: Path,
    locale: str,
    sentence: str,
    detail: str,
) -> None:
    """The page's own sentence for the code stands before the server's, which is marked as English."""
    receiver.answers["pre-create"] = Answer({"RejectUpload": True})
    (tmp_path / "a.bin").write_bytes(content(1, 1000))
    with visit(browser, strict_server, locale=locale, expected="unexpected response") as page:
        page.choose(tmp_path / "a.bin")
        refused = page.tab.locator("#refused-list li")
        expect(refused).to_have_text(f"a.bin: {sentence} {detail}")
        expect(refused.locator("[lang=en]")).to_have_text(detail)
        assert [] == page.barriers()
    receiver.answers.clear()


def test_refusals_can_be_dismissed(strict_page: UploadPage, receiver: Receiver, tmp_path: Path) -> None:
    """A list that was read is put away."""
    receiver.answers["pre-create"] = Answer({"RejectUpload": True})
    (tmp_path / "a.bin").write_bytes(content(1, 1000))
    strict_page.choose(tmp_path / "a.bin")
    expect(strict_page.tab.locator("#refused")).to_be_visible()
    strict_page.press("Dismiss")
    expect(strict_page.tab.locator("#refused")).to_be_hidden()
    receiver.answers.clear()


def test_offline_is_told_at_once(page: UploadPage) -> None:
    """And no longer than it lasts."""
    page.context.set_offline(True)
    expect(page.tab.locator("#connection")).to_contain_text("This device is offline")
    page.context.set_offline(False)
    expect(page.tab.locator("#connection")).to_have_text("")


def test_names_in_the_list_are_what_they_look_like(page: UploadPage, tmp_path: Path) -> None:
    """A character that reverses the reading direction is left out; the label of a button contains its text."""
    (tmp_path / "gpj\u202eexe.bin").write_bytes(content(3, 2 * MIB))
    page.throttle(MIB)
    page.choose(tmp_path / "gpj\u202eexe.bin")
    expect(page.tab.locator(".uppy-Dashboard-Item-name")).to_have_text("gpjexe.bin")
    page.throttle(None)
    page.wait_for_uploaded(1)
    expect(page.uploaded.get_by_role("link")).to_have_text("gpjexe.bin")
    button = page.uploaded.get_by_role("button", name="Copy upload URL: gpjexe.bin", exact=True)
    expect(button).to_have_text("Copy upload URL")
