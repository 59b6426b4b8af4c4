"""Chromium, servers, and a page whose requests and errors are checked after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.upload_page import UploadPage, visit
from tests.support.programs import find_program
from tests.support.server import RunningServer, start_server

# No sandbox: containers lack the rights for it. No background requests of Chromium itself.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium_path() -> str:
    """Where Chromium is. If it is not installed, the test is skipped, or fails in CI."""
    install = "Debian: apt-get install --no-install-recommends chromium"
    return find_program("chromium", f"Chromium is not installed ({install})")


# Not session-scoped: Playwright keeps an event loop running in this thread, so other tests could not run theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        try:
            yield chromium
        finally:
            chromium.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests of this directory; each test uses uploads of its own."""
    running = start_server(tmp_path_factory.mktemp("browser") / "data")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server for one test that kills it."""
    running = start_server(tmp_path / "data")
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def page(browser: Browser, server: RunningServer) -> Iterator[UploadPage]:
    with visit(browser, server) as opened:
        yield opened
