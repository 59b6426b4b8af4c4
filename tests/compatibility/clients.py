"""Real clients, each as two functions: upload a file, and continue an upload that has the first part of it."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import aiotus
import yarl
from aiotus import core
from tusclient.client import TusClient

from tests.support import node
from tests.support.programs import find_program

HERE = Path(__file__).parent
#: The results of builds, kept from one run to the next.
BUILDS = HERE / ".build"
JAVA_CLIENT = "0.5.1"
CHUNK_BYTES = 1024 * 1024
_BUILD_SECONDS = 1800.0


class ClientFailed(Exception):
    """The client reported that it could not upload."""


@dataclass(frozen=True)
class Client:
    """One client. ``upload`` takes the endpoint and a file, and returns the URL; ``resume`` takes the URL.

    ``ensure_installed`` skips the test if a program is missing, and fails it in CI.
    """

    name: str
    version: Callable[[], str]
    upload: Callable[[str, Path], str]
    resume: Callable[[str, Path], None]
    ensure_installed: Callable[[], object] = lambda: None
    is_draft: bool = False


def _program(name: str, install: str) -> str:
    return find_program(name, f"{name} is not installed ({install})")


def _run(command: Sequence[str], timeout_seconds: float = 60.0, folder: Path = HERE) -> str:
    """The standard output of the command. Raises ``ClientFailed`` with the end of its error output."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False, cwd=folder)
    if run.returncode:
        raise ClientFailed((run.stderr or run.stdout).strip()[-300:])
    return run.stdout


# tuspy and aiotus, in this process


def _tuspy_upload(endpoint: str, file: Path) -> str:
    uploader = TusClient(endpoint).uploader(str(file), chunk_size=CHUNK_BYTES)
    uploader.upload()
    return str(uploader.url)


def _tuspy_resume(url: str, file: Path) -> None:
    TusClient(url).uploader(str(file), chunk_size=CHUNK_BYTES, url=url).upload()


def _aiotus_upload(endpoint: str, file: Path) -> str:
    async def run() -> str:
        with file.open("rb") as source:
            once = aiotus.RetryConfiguration(retry_attempts=1)
            url = await aiotus.upload(endpoint, source, config=once, chunksize=CHUNK_BYTES)
        if url is None:
            raise ClientFailed("aiotus returned no URL")
        return str(url)

    return asyncio.run(run())


def _aiotus_resume(url: str, file: Path) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await core.upload_buffer(session, yarl.URL(url), io.BytesIO(file.read_bytes()), chunksize=CHUNK_BYTES)

    asyncio.run(run())


# tus-js-client, under Node


def _tus_js(protocol: str | None) -> tuple[Callable[[str, Path], str], Callable[[str, Path], None]]:
    chosen = {} if protocol is None else {"protocol": protocol}

    def run(endpoint: str, file: Path, options: dict[str, object]) -> str:
        outcome = node.upload(
            endpoint=endpoint, file=str(file), options={"chunkSize": CHUNK_BYTES, **chosen, **options}
        )
        if outcome.error is not None:
            raise ClientFailed(outcome.error)
        return outcome.url

    def resume(url: str, file: Path) -> None:
        run(url, file, {"uploadUrl": url})

    return (lambda endpoint, file: run(endpoint, file, {})), resume


def _tus_js_version() -> str:
    text = (node.FOLDER / "package-lock.json").read_text()
    found = re.search(r'"node_modules/tus-js-client": \{\s*"version": "([^"]+)"', text)
    assert found is not None
    return found[1]


# curl, as typed by hand


def _curl(method: str, url: str, headers: dict[str, str], body: Path | bytes | None = None) -> dict[str, str]:
    """Make one request and return the headers of its only response, with the status under an empty name."""
    command = [_program("curl", "Debian: curl"), "--silent", "--show-error", "--include", "--request", method]
    command += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    if method == "HEAD":
        command[-2 * len(headers) :] = ["--head", *command[-2 * len(headers) :]]
    given: dict[str, object] = {"input": body} if isinstance(body, bytes) else {}
    if body is not None:
        command += ["--data-binary", "@-" if isinstance(body, bytes) else f"@{body}"]
    run = subprocess.run([*command, url], capture_output=True, timeout=60, check=False, **given)  # type: ignore[call-overload]
    if run.returncode:
        raise ClientFailed(run.stderr.decode()[-300:])
    heads = [head for head in run.stdout.decode("latin-1").split("\r\n\r\n") if head.startswith("HTTP/")]
    finals = [head for head in heads if not re.match(r"HTTP/\S+ 1", head)]
    lines = finals[0].split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    found[""] = lines[0].split(" ")[1]
    if not found[""].startswith("2"):
        raise ClientFailed(f"{method} was answered {found['']}")
    return found


_TUS = {"Tus-Resumable": "1.0.0"}
_BYTES = {"Content-Type": "application/offset+octet-stream"}
_DRAFT = {"Upload-Draft-Interop-Version": "8"}


def _curl_upload(endpoint: str, file: Path) -> str:
    created = _curl("POST", endpoint, {**_TUS, "Upload-Length": str(file.stat().st_size)})
    url = urljoin(endpoint, created["location"])
    _curl_resume(url, file)
    return url


def _curl_resume(url: str, file: Path) -> None:
    offset = _curl("HEAD", url, _TUS)["upload-offset"]
    _curl("PATCH", url, {**_TUS, **_BYTES, "Upload-Offset": offset}, file.read_bytes()[int(offset) :])


def _curl_draft_upload(endpoint: str, file: Path) -> str:
    return urljoin(endpoint, _curl("POST", endpoint, {**_DRAFT, "Upload-Complete": "?1"}, file)["location"])


def _curl_draft_resume(url: str, file: Path) -> None:
    offset = _curl("HEAD", url, _DRAFT)["upload-offset"]
    headers = {**_DRAFT, "Upload-Complete": "?1", "Upload-Offset": offset, "Content-Type": "application/partial-upload"}
    _curl("PATCH", url, headers, file.read_bytes()[int(offset) :])


def _curl_version() -> str:
    return _run([_program("curl", "Debian: curl"), "--version"]).split()[1]


# The Rust clients: one program, built once


@cache
def _rust_program() -> str:
    cargo = _program("cargo", "Debian: cargo")
    target = Path(os.environ.get("CARGO_TARGET_DIR", BUILDS / "rust"))
    _run([cargo, "build", "--quiet", "--locked", "--target-dir", str(target)], _BUILD_SECONDS, HERE / "rust")
    return str(target / "debug" / "compatibility")


def _rust(name: str) -> tuple[Callable[[str, Path], str], Callable[[str, Path], None]]:
    def upload(endpoint: str, file: Path) -> str:
        return _run([_rust_program(), name, "upload", endpoint, str(file)]).strip()

    def resume(url: str, file: Path) -> None:
        _run([_rust_program(), name, "resume", url, str(file)])

    return upload, resume


def _rust_version(name: str) -> str:
    found = re.search(rf'name = "{name}"\nversion = "([^"]+)"', (HERE / "rust" / "Cargo.lock").read_text())
    assert found is not None
    return found[1]


# tus-java-client, as source that java compiles itself


@cache
def _java_command() -> list[str]:
    java, maven = _program("java", "Debian: default-jdk-headless"), _program("mvn", "Debian: maven")
    BUILDS.mkdir(exist_ok=True)
    jar = BUILDS / f"tus-java-client-{JAVA_CLIENT}.jar"
    with (BUILDS / "java.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not jar.exists():
            artifact = f"-Dartifact=io.tus.java.client:tus-java-client:{JAVA_CLIENT}"
            _run([maven, "-q", "dependency:copy", artifact, f"-DoutputDirectory={BUILDS}"], _BUILD_SECONDS)
    return [java, "-cp", str(jar), str(HERE / "java" / "Driver.java")]


def _java_upload(endpoint: str, file: Path) -> str:
    return _run([*_java_command(), "upload", endpoint, str(file)]).strip()


def _java_resume(url: str, file: Path) -> None:
    _run([*_java_command(), "resume", url, str(file)])


CLIENTS: tuple[Client, ...] = (
    Client("tus-js-client", _tus_js_version, *_tus_js(None), node.node),
    Client("tuspy", lambda: metadata.version("tuspy"), _tuspy_upload, _tuspy_resume),
    Client("aiotus", lambda: metadata.version("aiotus"), _aiotus_upload, _aiotus_resume),
    Client("tus-java-client", lambda: JAVA_CLIENT, _java_upload, _java_resume, _java_command),
    Client("tus_client", lambda: _rust_version("tus_client"), *_rust("tus_client"), _rust_program),
    Client(
        "tus_async_client",
        lambda: _rust_version("tus_async_client"),
        *_rust("tus_async_client"),
        _rust_program,
    ),
    Client("curl", _curl_version, _curl_upload, _curl_resume, _curl_version),
    Client("tus-js-client, draft-03", _tus_js_version, *_tus_js("ietf-draft-03"), node.node, is_draft=True),
    Client("tus-js-client, draft-05", _tus_js_version, *_tus_js("ietf-draft-05"), node.node, is_draft=True),
    Client(
        "curl, draft (version 8)",
        _curl_version,
        _curl_draft_upload,
        _curl_draft_resume,
        _curl_version,
        is_draft=True,
    ),
)
