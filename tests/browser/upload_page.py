"""The upload page as a person uses it: choosing files, pressing its buttons, reading what it says.

Beside that it remembers every request the page made, which is how a test tells a resumed upload from one begun anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from tests.support.server import RunningServer

_WAIT_MS = 30_000

# What Golden Retriever has in IndexedDB of a single upload that has begun; it writes twice a second at most.
_KEPT = """async () => {
  const answer = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const stores = (await answer(indexedDB.open('uppy-blobs'))).transaction(['metadata', 'files'])
  const [state] = await answer(stores.objectStore('metadata').getAll())
  const blobs = await answer(stores.objectStore('files').count())
  const [file] = Object.values(JSON.parse(state?.metadata ?? '{}').files ?? {})
  return file?.tus?.uploadUrl ? { bytes: blobs === 1, paused: Boolean(file.isPaused) } : null
}"""
expect.set_options(timeout=_WAIT_MS)


class UploadPage:
    """One tab of the page. What it asks for and complains of is kept for all tabs of its context."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.tab: Page = context.new_page()
        self._network = context.new_cdp_session(self.tab)
        self._network.send("Network.enable")
        self._requests: list[Request] = []
        self._complaints: list[str] = []
        context.on("request", lambda request: self._requests.append(request))
        context.on("console", self._note)
        context.on("weberror", lambda error: self._complaints.append(str(error.error)))

    def open(self) -> None:
        self.tab.goto(self.url)
        expect(self.tab.locator(".uppy-Dashboard-inner")).to_be_visible()

    def choose(self, *paths: Path) -> None:
        """Give the page files of this machine, as the file dialog would."""
        self.tab.locator("input.uppy-Dashboard-input[type=file]").first.set_input_files(list(paths))

    def press(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def throttle(self, bytes_per_second: int | None) -> None:
        """Bound how fast the tab may send, or lift the bound. Requests that are under way keep the bound they had."""
        rate = -1 if bytes_per_second is None else bytes_per_second
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate}
        self._network.send("Network.emulateNetworkConditions", conditions)

    def wait_until_sent(self, percent: int) -> None:
        """Return once the progress bar stands at ``percent`` or more, but below 100."""
        above = "|".join(str(number) for number in range(percent, 100))
        expect(self.tab.get_by_role("progressbar")).to_have_attribute("aria-valuenow", re.compile(f"^({above})$"))

    def wait_until_kept(self, *, with_bytes: bool = True, paused: bool = False) -> None:
        """Return once the browser has written down what a reload needs: the upload's state, and its bytes if it can."""
        deadline = time.monotonic() + _WAIT_MS / 1000
        while (kept := self.tab.evaluate(_KEPT)) != {"bytes": with_bytes, "paused": paused}:
            assert time.monotonic() < deadline, f"the browser has kept {kept}"
            self.tab.wait_for_timeout(50)

    def wait_until_ended(self, method: str) -> None:
        """Wait until every request with this method so far was broken off: the browser tells of that a little later."""
        while not all(request.failure for request in self.sent(method)):
            self.tab.wait_for_timeout(20)

    def wait_for_uploaded(self, count: int) -> None:
        expect(self.uploaded).to_have_count(count)

    @property
    def uploaded(self) -> Locator:
        """The rows under "Uploaded"."""
        return self.tab.locator("#uploaded-list li")

    def link(self, name: str) -> str:
        """Where the row of this name points."""
        address = self.tab.get_by_role("link", name=name, exact=True).last.get_attribute("href")
        assert address is not None
        return address

    def sent(self, method: str) -> list[Request]:
        """The requests with this method, in order."""
        return [request for request in self._requests if request.method == method]

    def offsets(self) -> list[int]:
        """The offsets at which the page began to send bytes."""
        return [int(request.headers["upload-offset"]) for request in self.sent("PATCH")]

    def faults(self) -> list[str]:
        """Requests beyond this machine, violations of the page's policy, and errors thrown; none is right."""
        hosts = {urlsplit(request.url).hostname for request in self._requests if request.url.startswith("http")}
        return sorted(f"asked {host}" for host in hosts if host != "127.0.0.1") + self._complaints

    def _note(self, message: ConsoleMessage) -> None:
        # That a request failed is the browser's remark on the network, which some tests cut on purpose.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._complaints.append(message.text)


@contextmanager
def visit(browser: Browser, server: RunningServer) -> Iterator[UploadPage]:
    """The page of ``server``, opened. Fails whoever made it ask beyond this machine, break its own policy or throw."""
    context = browser.new_context(locale="en-GB", accept_downloads=True)
    try:
        opened = UploadPage(context, server.root + "/")
        opened.open()
        yield opened
    finally:
        context.close()
    assert opened.faults() == []
