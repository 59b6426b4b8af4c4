"""The component of docs/how-to/uppy-react.md, bundled as it stands, uploads a file in Chromium."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.content import MIB, content
from tests.support.node import installed
from tests.support.server import RunningServer

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "uppy-react.md"
PACKAGES = Path(__file__).parents[1] / "clients" / "react"


@pytest.mark.long
@pytest.mark.timeout(400)
def test_react_component_uploads_a_file(browser: Browser, server: RunningServer, tmp_path: Path) -> None:
    """It is chosen in the dashboard and sent; the link that the component shows is that of the stored upload."""
    installed(PACKAGES)
    component, application = re.findall(r"^```tsx\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    (tmp_path / "node_modules").symlink_to(PACKAGES / "node_modules")
    (tmp_path / "Upload.tsx").write_text(component)
    (tmp_path / "main.tsx").write_text(application.replace("http://127.0.0.1:8080/files/", server.url))
    esbuild = str(tmp_path / "node_modules" / ".bin" / "esbuild")
    options = ["--bundle", "--jsx=automatic", "--outfile=main.js", "--log-level=error"]
    subprocess.run([esbuild, "main.tsx", *options], cwd=tmp_path, check=True, timeout=60)
    page = '<!doctype html><link rel="stylesheet" href="main.css"><div id="root"></div><script src="main.js"></script>'
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "film.bin").write_bytes(content(1, 3 * MIB))
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto((tmp_path / "index.html").as_uri())
        tab.locator(".uppy-Dashboard-input").first.set_input_files(tmp_path / "film.bin")
        tab.get_by_role("button", name="Upload 1 file").click()
        link = tab.locator("#root li a")
        link.wait_for(timeout=60_000)
        assert content(1, 3 * MIB) == server.stored(link.inner_text())
