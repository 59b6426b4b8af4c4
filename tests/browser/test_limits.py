"""What the page says of accepted files before one is chosen, and what the file chooser offers."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.upload_page import PHONE, UploadPage, visit
from tests.support.content import content
from tests.support.server import RunningServer, start_server

BY_NAME = """
[validation]
enabled = true
[[validation.rules]]
extensions = ["png", "txt"]
size_max = "1MiB"
"""
BY_CONTENT = """
[validation]
enabled = true
[[validation.rules]]
allowed_types = ["image/*", "application/pdf"]
"""


def server_with(folder: Path, config: str) -> RunningServer:
    (folder / "config.toml").write_text(config)
    return start_server(folder / "data", "--config", str(folder / "config.toml"))


def offered(page: UploadPage, button: str) -> str | None:
    """The types that the file chooser behind ``button`` offers."""
    with page.tab.expect_file_chooser() as choosing:
        page.press(button)
    return choosing.value.element.get_attribute("accept")


def test_extensions_are_told_and_kept(browser: Browser, tmp_path: Path) -> None:
    """Extensions that hold for every file are told and offered; a file with another one is not sent."""
    server = server_with(tmp_path, BY_NAME)
    try:
        with visit(browser, server) as page:
            expect(page.tab.get_by_text("Files up to 1 MB \u00b7 Permitted: PNG, TXT")).to_be_visible()
            assert ".png,.txt" == (offered(page, "browse files") or "").replace(" ", "")
            (tmp_path / "film.mp4").write_bytes(bytes(content(1, 1000)))
            page.choose(tmp_path / "film.mp4")
            expect(page.tab.get_by_text("You can only upload: .png, .txt").first).to_be_visible()
            assert [] == page.sent("POST")
            (tmp_path / "Note.TXT").write_text("a note")
            page.choose(tmp_path / "Note.TXT")
            page.wait_for_uploaded(1)
        with visit(browser, server, locale="de", **PHONE) as page:
            expect(page.tab.get_by_text("Dateien bis 1 MB \u00b7 Erlaubt: PNG, TXT")).to_be_visible()
            assert ".png,.txt" == (offered(page, "Dateien ausw\u00e4hlen") or "").replace(" ", "")
    finally:
        server.stop()


def test_types_of_content_are_told_and_offered(browser: Browser, tmp_path: Path) -> None:
    """Types that the server finds in the bytes are told and offered; the name decides nothing, so it is sent."""
    server = server_with(tmp_path, BY_CONTENT)
    try:
        with visit(browser, server) as page:
            expect(page.tab.get_by_text("Permitted: pictures, PDF")).to_be_visible()
            assert "image/*,application/pdf,.pdf" == offered(page, "browse files")
            assert offered(page, "browse folders") in (None, "")
            (tmp_path / "scan.dat").write_bytes(b"%PDF-1.7\n")
            page.choose(tmp_path / "scan.dat")
            page.wait_for_uploaded(1)
    finally:
        server.stop()
