"""Takes the pictures of the page in ``docs/page``: ``python -m tests.browser.screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, chromium_path
from tests.browser.upload_page import PHONE, UploadPage, visit
from tests.support.content import MIB, content
from tests.support.grants import start as start_sharing
from tests.support.receiver import Answer, Receiver, receiving
from tests.support.server import RunningServer, start_server

_FOLDER = Path(__file__).parents[2] / "docs" / "page"
_DESKTOP: dict[str, Any] = {"viewport": {"width": 1000, "height": 800}}


def _main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, receiving() as receiver, sync_playwright() as playwright:
        settings = {"UPLOADS__LENGTH_MAX": "20GiB", "HOOKS__HTTP_URLS": receiver.url, "SERVER__PORT": "8080"}
        settings["HOOKS__ENABLED_EVENTS"] = "pre-create"
        server = start_server(Path(folder) / "data", settings=settings, port=8080)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        try:
            _take(browser, server, Path(folder), "desktop", **_DESKTOP)
            _take(browser, server, Path(folder), "dark", **_DESKTOP, color_scheme="dark", locale="fr-FR")
            phone = {**PHONE, "locale": "de-DE"}
            with visit(browser, server, **phone) as page:
                page.tab.screenshot(path=_FOLDER / "phone.png")
            _take_refusal(browser, server, receiver, Path(folder))
            server.stop()
            server = start_sharing(Path(folder) / "guarded", ACCESS__ANONYMOUS="none", ACCOUNTS__ENABLED="true")
            with visit(browser, server, opened=False, locale="de-DE", **_DESKTOP) as page:
                page.tab.locator("#login-name").fill("ada")
                page.tab.screenshot(path=_FOLDER / "login.png")
        finally:
            browser.close()
            server.stop()


def _take(browser: Browser, server: RunningServer, folder: Path, name: str, **options: Any) -> None:
    """One file is uploaded, another is on its way."""
    with visit(browser, server, **options) as page:
        _choose(page, folder / "Minutes of May.pdf", 180_000)
        page.wait_for_uploaded(1)
        page.throttle(4 * MIB)
        _choose(page, folder / "Harbour at night.mp4", 48 * MIB)
        page.wait_until_sent(30)
        page.tab.screenshot(path=_FOLDER / f"{name}.png")


def _take_refusal(browser: Browser, server: RunningServer, receiver: Receiver, folder: Path) -> None:
    sentence = "The archive is closed until Monday. Ask Ada for an exception."
    receiver.answers["pre-create"] = Answer({"RejectUpload": True, "HTTPResponse": {"Body": sentence}})
    with visit(browser, server, expected="unexpected response", **_DESKTOP) as page:
        _choose(page, folder / "Backup of March.zip", 90_000)
        expect(page.tab.locator("#refused-list li")).to_have_count(1)
        page.tab.screenshot(path=_FOLDER / "refusal.png")


def _choose(page: UploadPage, path: Path, length: int) -> None:
    path.write_bytes(bytes(content(1, length)))
    page.choose(path)


if __name__ == "__main__":
    _main()
