"""Uploading files with the page: stored bytes, links, metadata, the list, and the layout."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.upload_page import UploadPage
from tests.support.content import MIB, content, sha256
from tests.support.server import RunningServer


def file_at(path: Path, seed: int, length: int) -> Path:
    path.write_bytes(content(seed, length))
    return path


def test_file_is_uploaded_and_listed(page: UploadPage, server: RunningServer, tmp_path: Path) -> None:
    """A chosen file is uploaded at once; the stored bytes are right, and the list shows its name and size."""
    chosen = file_at(tmp_path / "résumé 履歴書.bin", 1, 3 * MIB + 17)
    page.choose(chosen)
    page.wait_for_uploaded(1)
    assert sha256(chosen.read_bytes()) == sha256(server.stored(page.link(chosen.name)))
    expect(page.uploaded).to_contain_text("3 MB")


def test_link_downloads_the_file(page: UploadPage, tmp_path: Path) -> None:
    """The link downloads a file with the same name and the same bytes."""
    chosen = file_at(tmp_path / "plan (final).txt", 2, 700_001)
    page.choose(chosen)
    page.wait_for_uploaded(1)
    with page.tab.expect_download() as saving:
        page.uploaded.get_by_role("link").click()
    assert chosen.name == saving.value.suggested_filename
    assert sha256(chosen.read_bytes()) == sha256(Path(saving.value.path()).read_bytes())


def test_three_files_are_uploaded_in_parallel(page: UploadPage, server: RunningServer, tmp_path: Path) -> None:
    """Files that are chosen together become three uploads; one of them is empty."""
    chosen = [file_at(tmp_path / f"{seed}.bin", seed, length) for seed, length in ((3, 0), (4, 5 * MIB), (5, 12 * MIB))]
    page.choose(*chosen)
    page.wait_for_uploaded(3)
    for path in chosen:
        assert sha256(path.read_bytes()) == sha256(server.stored(page.link(path.name)))
    assert 3 == len({page.link(path.name) for path in chosen})


def test_metadata_has_name_and_type(page: UploadPage, tmp_path: Path) -> None:
    """The metadata has the name and the type, and no relative path for a file without a folder."""
    page.choose(file_at(tmp_path / "note.txt", 6, 100))
    page.wait_for_uploaded(1)
    (creation,) = page.sent("POST")
    pairs = dict(pair.split(" ") for pair in creation.headers["upload-metadata"].split(","))
    metadata = {name: base64.b64decode(value).decode() for name, value in pairs.items()}
    assert {"name": "note.txt", "filename": "note.txt", "type": "text/plain", "filetype": "text/plain"} == metadata


def test_list_survives_a_reload_until_cleared(page: UploadPage, tmp_path: Path) -> None:
    """The list is the same after a reload, and empty after it was cleared."""
    page.choose(file_at(tmp_path / "kept.bin", 7, 1000))
    page.wait_for_uploaded(1)
    page.tab.reload()
    page.wait_for_uploaded(1)
    page.press("Clear list")
    page.wait_for_uploaded(0)
    page.tab.reload()
    expect(page.tab.get_by_text("tus endpoint")).to_be_visible()
    page.wait_for_uploaded(0)


def test_deleted_upload_is_removed_from_the_list(page: UploadPage, tmp_path: Path) -> None:
    """At the next visit the list drops uploads that no longer exist and keeps the others."""
    page.choose(file_at(tmp_path / "gone.bin", 8, 1000), file_at(tmp_path / "stays.bin", 9, 1000))
    page.wait_for_uploaded(2)
    answer = page.context.request.delete(page.link("gone.bin"), headers={"Tus-Resumable": "1.0.0"})
    assert 204 == answer.status
    page.tab.reload()
    page.wait_for_uploaded(1)
    expect(page.uploaded).to_contain_text("stays.bin")


def test_cancelled_upload_is_terminated_204(page: UploadPage, server: RunningServer, tmp_path: Path) -> None:
    """Cancelling sends DELETE, and the server deletes the bytes."""
    page.throttle(2 * MIB)
    page.choose(file_at(tmp_path / "unwanted.bin", 10, 16 * MIB))
    page.wait_until_sent(20)
    with page.tab.expect_response(lambda response: response.request.method == "DELETE") as removal:
        page.tab.get_by_role("button", name="Cancel", exact=True).first.click()
    assert 204 == removal.value.status
    assert not (server.data_dir / "uploads" / removal.value.url.rsplit("/", 1)[1]).exists()
    page.wait_for_uploaded(0)


def test_page_shows_and_copies_the_endpoint(page: UploadPage, server: RunningServer) -> None:
    """The page shows the full URL of the endpoint, and a button copies it."""
    expect(page.tab.locator("#endpoint")).to_have_text(server.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.press("Copy: tus endpoint")
    expect(page.tab.locator("#endpoint-copy")).to_have_text("Copied")
    assert server.url == page.tab.evaluate("navigator.clipboard.readText()")


def test_page_follows_the_colour_scheme(page: UploadPage) -> None:
    """The page and Uppy's Dashboard are light or dark as the browser prefers."""
    grounds = {}
    for scheme in ("light", "dark"):
        page.tab.emulate_media(color_scheme=scheme)
        expect(page.tab.locator(".uppy-Dashboard")).to_have_attribute("data-uppy-theme", scheme)
        parts = [page.tab.locator(part) for part in ("body", ".uppy-Dashboard-inner")]
        grounds[scheme] = [part.evaluate("part => getComputedStyle(part).backgroundColor") for part in parts]
    for light, dark in zip(grounds["light"], grounds["dark"], strict=True):
        assert brightness(light) > 200
        assert brightness(dark) < 60


def brightness(colour: str) -> float:
    channels = [int(channel) for channel in re.findall(r"\d+", colour)[:3]]
    return sum(channels) / len(channels)
