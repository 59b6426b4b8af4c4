"""The upload page as a user operates it: choosing files, pressing buttons, reading texts.

It records every request of the page, so that a test can distinguish a resumed upload from a new one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from tests.support.node import package_file
from tests.support.server import RunningServer

_WAIT_MS = 30_000

# What Golden Retriever has stored in IndexedDB for a single running upload; it writes at most twice a second.
_STORED_STATE = """async () => {
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

_AXE = """axe.run({resultTypes: ['violations']}).then(({violations}) => violations.flatMap(
  ({id, nodes}) => nodes.map(({html}) => `${id}: ${html.slice(0, 200)}`)))"""

#: A phone held upright, operated by fingers.
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}

# WCAG 2.2, 2.5.8: at least 24 by 24 CSS pixels, except for links within a sentence.
_SMALL_TARGETS = """() => [...document.querySelectorAll('button, a, input, summary, select')]
  .filter((element) => element.checkVisibility() && !element.closest('.offscreen'))
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 24 || height < 24)
  .map(([element, { width, height }]) => `${element.outerHTML.slice(0, 200)} is ${width} by ${height}`)"""


class UploadPage:
    """One tab of the page. The requests and errors of all tabs of its context are recorded."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.tab: Page = context.new_page()
        self._network = context.new_cdp_session(self.tab)
        self._network.send("Network.enable")
        self._requests: list[Request] = []
        self._errors: list[str] = []
        context.on("request", lambda request: self._requests.append(request))
        context.on("console", self._note)
        context.on("weberror", lambda error: self._errors.append(str(error.error)))

    def open(self, *, accepts_files: bool = True) -> None:
        self.tab.goto(self.url)
        expect(self.tab.locator(".uppy-Dashboard-inner" if accepts_files else "#access")).to_be_visible()

    def choose(self, *paths: Path) -> None:
        """Choose files as the file dialog does."""
        self.tab.locator("input.uppy-Dashboard-input[type=file]").first.set_input_files(list(paths))

    def press(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def throttle(self, bytes_per_second: int | None) -> None:
        """Limit the upload rate of the tab; ``None`` removes the limit. Running requests keep their limit."""
        rate = -1 if bytes_per_second is None else bytes_per_second
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate}
        self._network.send("Network.emulateNetworkConditions", conditions)

    def wait_until_sent(self, percent: int) -> None:
        """Return as soon as the progress bar shows ``percent`` or more, but less than 100."""
        above = "|".join(str(number) for number in range(percent, 100))
        expect(self.tab.get_by_role("progressbar")).to_have_attribute("aria-valuenow", re.compile(f"^({above})$"))

    def wait_until_kept(self, *, with_bytes: bool = True, paused: bool = False) -> None:
        """Return as soon as the browser has stored what a reload needs: the state and, if possible, the bytes."""
        deadline = time.monotonic() + _WAIT_MS / 1000
        while (kept := self.tab.evaluate(_STORED_STATE)) != {"bytes": with_bytes, "paused": paused}:
            assert time.monotonic() < deadline, f"the browser has stored {kept}"
            self.tab.wait_for_timeout(50)

    def spoil_cookie(self, name: str) -> None:
        """Replace the value of a cookie, as if the server did not accept it any more."""
        (cookie,) = [cookie for cookie in self.context.cookies() if cookie["name"] == name]
        self.context.add_cookies([{**cookie, "value": "spoiled"}])  # type: ignore[typeddict-item]

    def wait_until_ended(self, method: str) -> None:
        """Wait until the browser reports that every request with this method was aborted."""
        while not all(request.failure for request in self.sent(method)):
            self.tab.wait_for_timeout(20)

    def wait_for_uploaded(self, count: int) -> None:
        expect(self.uploaded).to_have_count(count)

    @property
    def uploaded(self) -> Locator:
        """The rows under "Uploaded"."""
        return self.tab.locator("#uploaded-list li")

    def link(self, name: str) -> str:
        """The URL of the row with this name."""
        address = self.tab.get_by_role("link", name=name, exact=True).last.get_attribute("href")
        assert address is not None
        return address

    def sent(self, method: str) -> list[Request]:
        """The requests with this method, in order."""
        return [request for request in self._requests if request.method == method]

    def offsets(self) -> list[int]:
        """The Upload-Offset of each PATCH."""
        return [int(request.headers["upload-offset"]) for request in self.sent("PATCH")]

    def small_targets(self) -> list[str]:
        """The visible buttons and links that are smaller than fingers need."""
        found: list[str] = self.tab.evaluate(_SMALL_TARGETS)
        return found

    def barriers(self) -> list[str]:
        """What axe finds on the page as it is: rules of WCAG 2.2 AA and good practice that it does not meet."""
        session = self.context.new_cdp_session(self.tab)
        # The page's policy stays on: the debugger runs what no script of the page could.
        session.send("Runtime.evaluate", {"expression": package_file("axe-core/axe.min.js")})
        found = session.send("Runtime.evaluate", {"expression": _AXE, "awaitPromise": True, "returnByValue": True})
        problems: list[str] = found["result"]["value"]
        return problems

    def violations(self) -> list[str]:
        """Requests to other hosts, violations of the page's policy, and uncaught errors."""
        hosts = {urlsplit(request.url).hostname for request in self._requests if request.url.startswith("http")}
        return sorted(f"request to {host}" for host in hosts if host != "127.0.0.1") + self._errors

    def _note(self, message: ConsoleMessage) -> None:
        # The browser reports failed requests; some tests abort requests on purpose.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._errors.append(message.text)


@contextmanager
def visit(
    browser: Browser,
    server: RunningServer,
    *,
    expected: str = "\n",
    opened: bool = True,
    path: str = "/",
    **options: Any,
) -> Iterator[UploadPage]:
    """Open the page of ``server``. Fails at the end if the page has ``violations`` without the text ``expected``.

    ``options`` are of the browser's context: ``locale``, or those of ``PHONE``. ``opened`` is whether the page accepts
    files at once. ``path`` may have a fragment.
    """
    context = browser.new_context(**{"locale": "en-GB", "accept_downloads": True, **options})
    try:
        page = UploadPage(context, server.root + path)
        page.open(accepts_files=opened)
        yield page
    finally:
        context.close()
    assert [] == [each for each in page.violations() if expected not in each]
