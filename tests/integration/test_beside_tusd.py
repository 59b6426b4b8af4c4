"""The same requests to this server and to a real tusd: receivers and dashboards see the same.

The receiver is made of tusd's types and decodes strictly: a field that these do not have is an error.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.client import BODY, TUS, create, patch_headers, request
from tests.support.golang import receiver_program, tusd_program
from tests.support.server import start_server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(1200)]

HOOKS = "pre-create,post-create,post-receive,pre-finish,post-finish,pre-terminate,post-terminate"
METADATA = "filename " + b64encode("ä ö.png".encode()).decode() + ",empty"


class StrictReceiver:
    """The Go program: what it has decoded, in order, and what it could not decode."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [receiver_program()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"
        self.calls: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(
                target=self._read, args=(self._process.stdout, lambda line: self.calls.append(json.loads(line)))
            ),
            threading.Thread(target=self._read, args=(self._process.stderr, self.errors.append)),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream: Any, take: Any) -> None:
        for line in stream:
            take(line)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class Seen:
    """What one server told its receiver of the same requests, and its metrics."""

    hooks: dict[str, list[dict[str, Any]]]
    metrics: dict[str, set[frozenset[str]]]


@contextmanager
def _tusd(directory: Path, hooks_url: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(tusd_program()), "-host", "127.0.0.1", "-port", str(port), "-upload-dir", str(directory)]
    command += ["-hooks-http", hooks_url, "-hooks-enabled-events", HOOKS]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}/files/"
        finally:
            process.terminate()


def _is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


@contextmanager
def _ours(directory: Path, hooks_url: str) -> Iterator[str]:
    settings = {"HOOKS__HTTP_URLS": hooks_url, "HOOKS__ENABLED_EVENTS": HOOKS}
    running = start_server(directory / "data", settings=settings)
    try:
        yield running.url
    finally:
        running.stop()


async def _requests(url: str) -> None:
    """Every hook, in every kind of upload that both servers have."""
    made = await create(url, 8, {**TUS, "Upload-Metadata": METADATA})
    await request("PATCH", made, patch_headers(0), b"0123")
    await request("PATCH", made, patch_headers(4), b"4567")
    deferred = await request("POST", url, {**TUS, "Upload-Defer-Length": "1"})
    await request("PATCH", deferred.headers["location"], {**patch_headers(0), "Upload-Length": "4"}, b"abcd")
    await request("POST", url, {**TUS, **BODY, "Upload-Length": "5"}, b"01234")
    overridden = await create(url, 4)
    await request("POST", overridden, {**patch_headers(0), "X-HTTP-Method-Override": "PATCH"}, b"abcd")
    parts = [await create(url, 4, {**TUS, "Upload-Concat": "partial"}) for _ in range(2)]
    for part in parts:
        await request("PATCH", part, patch_headers(0), b"part")
    await request("POST", url, {**TUS, "Upload-Concat": "final;" + " ".join(parts)})
    ended = await create(url, 9)
    await request("DELETE", ended, TUS)
    await request("PATCH", made, patch_headers(2), b"x")  # 409
    await request("HEAD", url + "unknown", TUS)  # 404


@pytest.fixture(scope="module")
def tusds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("beside")


async def _seen(serve: Any, directory: Path) -> tuple[Seen, list[str]]:
    directory.mkdir()
    receiver = StrictReceiver()
    try:
        with serve(directory, receiver.url) as url:
            await eventually(lambda: _is_open(url), "the server listens", 60.0)
            await _requests(url)
            await eventually(lambda: len(_of(receiver, "post-finish")) >= 7, "every end is told", 30.0)
            await eventually(lambda: bool(_of(receiver, "post-terminate")), "the termination is told", 30.0)
            text = (await request("GET", url.removesuffix("/files/") + "/metrics", {})).body.decode()
    finally:
        receiver.close()
    hooks = {hook: sorted((_plain(call) for call in _of(receiver, hook)), key=str) for hook in HOOKS.split(",")}
    return Seen(hooks, _metrics(text)), receiver.errors


def _of(receiver: StrictReceiver, hook: str) -> list[dict[str, Any]]:
    return [call for call in list(receiver.calls) if call["Type"] == hook]


def _plain(call: dict[str, Any]) -> dict[str, Any]:
    """The event without what differs by nature: ids, paths, ports, and headers that events do not keep."""
    upload, head = call["Event"]["Upload"], call["Event"]["HTTPRequest"]
    is_pre = call["Type"].startswith("pre-")
    kept = ("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Defer-Length", "Content-Length", "Content-Type")
    headers = {name: value for name, value in head["Header"].items() if name in kept or (is_pre and name != "Host")}
    headers.pop("Upload-Concat", None)
    return {
        **upload,
        "ID": bool(upload["ID"]),
        "PartialUploads": len(upload["PartialUploads"] or ()),
        "Storage": sorted(upload["Storage"] or ()),
        "Method": head["Method"],
        "URI": re.sub("/files/.+", "/files/ID", head["URI"]),
        "RemoteAddr": head["RemoteAddr"].partition(":")[0],
        "Header": headers,
    }


def _metrics(text: str) -> dict[str, set[frozenset[str]]]:
    """The names of tusd's metrics, each with its sets of labels and values."""
    found: dict[str, set[frozenset[str]]] = {}
    for name, labels in re.findall(r"^(tusd_(?!py_)\w+)(?:\{([^}]*)\})? ", text, re.M):
        found.setdefault(name, set()).add(frozenset(labels.split(",")) if labels else frozenset())
    return found


async def test_hooks_and_metrics_are_those_of_tusd(tusds: Path) -> None:
    """Field by field for every hook; every metric of tusd exists with the same labels."""
    (ours, our_errors), (theirs, their_errors) = [
        await _seen(serve, tusds / name) for name, serve in (("ours", _ours), ("tusd", _tusd))
    ]
    assert ([], []) == (our_errors, their_errors)
    for hook in HOOKS.split(","):
        if hook != "post-receive":
            assert ours.hooks[hook] == theirs.hooks[hook], hook
    for name, labels in theirs.metrics.items():
        assert labels <= ours.metrics.get(name, set()), name
