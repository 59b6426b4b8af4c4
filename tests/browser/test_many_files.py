"""Hundreds of files at once: what a reload leaves, the links, and where a finished file is listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.upload_page import UploadPage
from tests.support.content import MIB, content
from tests.support.server import RunningServer

COUNT = 500


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"file-{number:03}.txt" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_text(f"{number}\n" * 200)
    return paths


@pytest.mark.long
def test_500_files_reloaded_at_once(page: UploadPage, server: RunningServer, many: list[Path]) -> None:
    """After a reload the page resumes what it can without asking, and says which files have to be chosen again.

    No file is both uploaded and asked for; once they are chosen again, every file is there once and has a link.
    """
    page.choose(*many)
    expect(page.tab.locator(".uppy-Dashboard-Item.is-complete").nth(5)).to_be_attached()
    page.tab.reload()
    again = page.tab.locator("#again-list li")
    expect(page.tab.locator("#again")).to_be_visible()
    expect(page.tab.locator(".uppy-Dashboard-Item")).to_have_count(0)
    expect(page.tab.get_by_role("button", name="Resume")).to_have_count(0)
    names = set(again.all_inner_texts())
    uploaded = page.uploaded.get_by_role("link").all_inner_texts()
    assert not names & set(uploaded)
    # Up to six were under way: the server had them whole, or the browser kept their bytes, or they are asked for.
    assert names | set(uploaded) == {path.name for path in many}
    expect(page.tab.get_by_role("heading", name=f"Choose {len(names)} files again")).to_be_visible()
    page.choose(*[path for path in many if path.name in names])
    page.wait_for_uploaded(COUNT)
    expect(page.tab.locator("#again")).to_be_hidden()
    expect(page.tab.get_by_role("heading", name="Uploaded (500)")).to_be_visible()
    assert COUNT == len({page.uploaded.nth(number).get_attribute("data-url") for number in range(COUNT)})
    for path in many[:: COUNT // 5]:
        assert path.read_bytes() == server.stored(page.link(path.name))
    page.tab.reload()
    page.wait_for_uploaded(COUNT)
    expect(page.tab.get_by_role("button", name="Resume")).to_have_count(0)
    expect(page.tab.locator("#again")).to_be_hidden()
    assert [] == page.barriers()


def test_finished_file_is_listed_once(page: UploadPage, tmp_path: Path) -> None:
    """While others are uploaded a finished file is in their list; then it is under "Uploaded" alone."""
    (tmp_path / "small.bin").write_bytes(bytes(content(1, 1000)))
    (tmp_path / "large.bin").write_bytes(bytes(content(2, 8 * MIB)))
    page.throttle(4 * MIB)
    page.choose(tmp_path / "small.bin", tmp_path / "large.bin")
    expect(page.tab.locator(".uppy-Dashboard-Item.is-complete")).to_have_count(1)
    expect(page.tab.get_by_text("small.bin", exact=True)).to_have_count(1)
    page.throttle(None)
    page.wait_for_uploaded(2)
    expect(page.tab.locator(".uppy-Dashboard-Item")).to_have_count(0)
    expect(page.tab.get_by_text("small.bin", exact=True)).to_have_count(1)
    assert [] == page.sent("DELETE")


def test_links_beyond_the_kept_ones_are_counted(page: UploadPage, tmp_path: Path) -> None:
    """The browser keeps 1,000 links; the page says how many older ones there were."""
    key = f"tusd-py uploaded {page.tab.locator('#endpoint').inner_text()}"
    entries = """([key]) => localStorage.setItem(key, JSON.stringify([...Array(1000).keys()].map(
      (n) => ({ name: `old-${n}`, size: 1, url: `/healthz?${n}`, at: 0 }))))"""
    page.tab.evaluate(entries, [key])
    page.tab.reload()
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"x")
    page.choose(tmp_path / "a.bin", tmp_path / "b.bin")
    expect(page.tab.locator("#uploaded-older")).to_have_text("2 older links are no longer kept in this browser.")
    expect(page.tab.get_by_role("link", name="a.bin")).to_be_visible()
