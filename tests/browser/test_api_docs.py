"""``/docs`` in a browser: Swagger UI shows every operation, and runs under its strict policy without a violation."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage

from tests.support.server import start_server
from tusd_py.web.api.openapi import load_document


def test_docs_show_every_operation(browser: Browser, tmp_path: Path) -> None:
    """All operations are on the page, one is tried out, and nothing is loaded from elsewhere."""
    server = start_server(tmp_path / "data", settings={"API__ENABLED": "true"})
    page = browser.new_page()
    errors: list[str] = []
    hosts: set[str] = set()

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
    try:
        page.goto(f"{server.root}/docs")
        page.wait_for_selector(".opblock")
        operations = sum(len(set(item) - {"parameters"}) for item in load_document()["paths"].values())
        assert page.locator(".opblock").count() == operations
        block = page.locator("#operations-health-showHealth")
        block.locator(".opblock-summary").click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        shown = block.locator(".live-responses-table .response .microlight").first
        shown.wait_for()
        assert json.loads(shown.inner_text())["status"] == "ok"
        assert (errors, {host for host in hosts if host} - {server.root.split("/")[2]}) == ([], set())
    finally:
        page.close()
        server.stop()
