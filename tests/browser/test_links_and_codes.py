"""The page for people without an account: by an upload link and with an access code; download links."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.upload_page import PHONE, UploadPage, visit
from tests.support.command import run_beside
from tests.support.content import MIB, content, sha256
from tests.support.grants import call, made, start
from tests.support.server import RunningServer

PASSWORD = "a password of the tests"
EXPECTED = "unexpected response"  # Uppy writes each refusal to the console


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with links, codes and accounts, whose tokens of codes are short-lived."""
    settings = {"ACCESS__ANONYMOUS": "none", "ACCOUNTS__ENABLED": "true", "CODES__TOKEN_SECONDS": "2"}
    server = start(tmp_path_factory.mktemp("sharing") / "data", **settings)
    try:
        run_beside(server, "user", "add", "carol", "--role", "uploader", "--password-stdin", stdin=f"{PASSWORD}\n")
        yield server
    finally:
        server.stop()


def result(work: Coroutine[Any, Any, Any]) -> Any:
    """What an asynchronous request returns, beside the loop of the browser."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


def file_at(path: Path, seed: int, length: int) -> Path:
    path.write_bytes(content(seed, length))
    return path


def enter_code(page: UploadPage, code: str) -> None:
    page.tab.get_by_label("Access code").fill(code)
    page.press("Continue")


def test_upload_link_takes_one_file(browser: Browser, sharing: RunningServer, tmp_path: Path) -> None:
    """The page with an upload link uploads one file without credentials, and tells when the link is used up."""
    link = result(made(sharing, "upload-links", length_max=MIB))
    chosen = file_at(tmp_path / "form.bin", 1, 300_000)
    with visit(browser, sharing, expected=EXPECTED, path=f"/#link={quote(link['url'], safe='')}") as page:
        expect(page.tab.get_by_label("Password")).to_have_count(1)
        expect(page.tab.get_by_label("Password")).to_be_hidden()
        page.choose(chosen)
        page.wait_for_uploaded(1)
        assert chosen.read_bytes() == (sharing.data_dir / "uploads" / link["upload_id"]).read_bytes()
        # The bearer may not read it, so there is no link to it.
        expect(page.uploaded.get_by_role("link")).to_have_count(0)
        assert [] == page.barriers()
        page.choose(file_at(tmp_path / "second.bin", 2, 1000))
        expect(page.tab.locator("#refused-list li")).to_contain_text("second.bin: this link is for one upload")


def test_interrupted_upload_by_a_link_continues(browser: Browser, sharing: RunningServer, tmp_path: Path) -> None:
    """After a reload the upload goes on at its offset."""
    link = result(made(sharing, "upload-links", length_max=20 * MIB))
    chosen = file_at(tmp_path / "film.bin", 3, 8 * MIB)
    with visit(browser, sharing, path=f"/#link={quote(link['url'], safe='')}") as page:
        page.throttle(2 * MIB)
        page.choose(chosen)
        page.wait_until_sent(30)
        page.wait_until_kept()
        page.tab.reload()
        page.throttle(None)
        page.wait_for_uploaded(1)
        stored = (sharing.data_dir / "uploads" / link["upload_id"]).read_bytes()
        assert sha256(chosen.read_bytes()) == sha256(stored)
        assert page.offsets()[-1] > 0


def test_access_code(browser: Browser, sharing: RunningServer, tmp_path: Path) -> None:
    """A wrong code is told; with the right one files are uploaded, in lower case as well, also after a reload."""
    code = result(made(sharing, "codes", seconds=1800, files_max=2))
    with visit(browser, sharing, expected=EXPECTED, opened=False, **PHONE) as page:
        enter_code(page, "AAA-AAA")
        expect(page.tab.locator("#code [role=alert]")).to_have_text("no active access code has these characters")
        assert [] == page.barriers()
        assert [] == page.small_targets()
        enter_code(page, code["code"].lower().replace("-", " "))
        expect(page.tab.get_by_text("Access until ")).to_be_visible()
        chosen = file_at(tmp_path / "photo.bin", 4, 8 * MIB)
        page.throttle(MIB)  # eight seconds, in which several tokens end
        page.choose(chosen)
        page.wait_for_uploaded(1)
        url = page.uploaded.first.get_attribute("data-url")
        assert url is not None
        assert sha256(chosen.read_bytes()) == sha256(sharing.stored(url))
        expect(page.uploaded.get_by_role("link")).to_have_count(0)
        page.tab.reload()
        expect(page.tab.get_by_text("Access until ")).to_be_visible()
        page.choose(file_at(tmp_path / "second.bin", 5, 1000))
        page.wait_for_uploaded(2)
        page.choose(file_at(tmp_path / "third.bin", 6, 1000))
        expect(page.tab.locator("#refused-list li")).to_contain_text("third.bin: the access code allows")
        assert [] == page.barriers()
        page.press("Log out")
        expect(page.tab.get_by_label("Access code")).to_be_visible()


def test_terminated_code_is_told(browser: Browser, sharing: RunningServer, tmp_path: Path) -> None:
    """When the owner ends the code, the person is told so, and the form for another one is there after a reload."""
    code = result(made(sharing, "codes", seconds=1800))
    with visit(browser, sharing, expected=EXPECTED, opened=False) as page:
        enter_code(page, code["code"])
        expect(page.tab.get_by_text("Access until ")).to_be_visible()
        result(call(sharing, "POST", f"codes/{code['id']}/terminate"))
        page.choose(file_at(tmp_path / "late.bin", 7, 1000))
        expect(page.tab.locator("#refused-list li")).to_contain_text("late.bin: ")
        page.tab.reload()
        expect(page.tab.get_by_label("Access code")).to_be_visible()


def test_download_link_is_copied(browser: Browser, sharing: RunningServer, tmp_path: Path) -> None:
    """The button of a file makes a link that downloads it without credentials, and does nothing else."""
    chosen = file_at(tmp_path / "report.bin", 8, 50_000)
    with visit(browser, sharing, opened=False) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.tab.get_by_label("Name").fill("carol")
        page.tab.get_by_label("Password").fill(PASSWORD)
        page.press("Log in")
        page.choose(chosen)
        page.wait_for_uploaded(1)
        page.press("Copy download link: report.bin")
        expect(page.uploaded.get_by_role("button")).to_have_text("Copied")
        link = page.tab.evaluate("navigator.clipboard.readText()")
        assert [] == page.barriers()
    context = browser.new_context()
    try:
        assert chosen.read_bytes() == context.request.get(link).body()
        assert 403 == context.request.delete(link, headers={"Tus-Resumable": "1.0.0"}).status
    finally:
        context.close()
