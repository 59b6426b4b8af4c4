"""The page at ``/`` with Uppy's Dashboard and its assets: reading, compressing, and serving them from memory.

The page uploads through the tus endpoint like every other client; nothing here receives an upload.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import aiofiles
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tusd_py.threads import cpu_threads, in_executor

#: The files of the page, beside this module in the package.
DIRECTORY = Path(__file__).with_suffix("")

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# One year: caches are not required to honour a longer time.
_IMMUTABLE = f"public, max-age={365 * 24 * 60 * 60}, immutable"


@dataclass(frozen=True)
class _Asset:
    """A file of the page, ready to be sent plain or compressed."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str


@dataclass(frozen=True)
class _Assets:
    """All files of the page. ``digest`` is part of their paths and changes with any file."""

    digest: str
    index: _Asset
    named: Mapping[str, _Asset]


def page_routes(endpoint: str, directory: Path = DIRECTORY) -> list[BaseRoute]:
    """Return the routes of the page. The first request reads the files in ``directory``; later ones read none.

    ``endpoint`` is the public URL of the tus endpoint, or its path below the page (``/files/``). The page gets a path
    as relative to itself, so that it is right behind any prefix that a proxy or a mount adds.
    """
    page = _Page(endpoint, directory)
    return [Route("/", page.serve_index), Route("/page/{digest}/{name:path}", page.serve_asset)]


class _Page:
    """The page's endpoints and its assets, which are loaded once and kept in memory."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._policy = _content_security_policy(endpoint)
        self._loading = asyncio.Lock()
        self._loaded: _Assets | None = None

    async def serve_index(self, request: Request) -> Response:
        assets = await self._assets()
        return _respond(request, assets.index, "no-cache", {"Content-Security-Policy": self._policy})

    async def serve_asset(self, request: Request) -> Response:
        assets = await self._assets()
        asset = assets.named.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        # A path with the current digest always names the same bytes. A page from before an upgrade asks with an old
        # digest: it gets the new file, but caches must not keep that under the old path.
        is_current = request.path_params["digest"] == assets.digest
        return _respond(request, asset, _IMMUTABLE if is_current else "no-cache", {})

    async def _assets(self) -> _Assets:
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    files = await _read_files(self._directory)
                    # Compressing takes tens of milliseconds: in a thread, so that the event loop goes on.
                    self._loaded = await in_executor(cpu_threads, _prepare, files, self._endpoint)
        return self._loaded


async def _read_files(directory: Path) -> dict[str, bytes]:
    """The bytes of every file that the page can use, by its path below ``directory``."""
    paths = await in_executor(cpu_threads, lambda: sorted(directory.rglob("*")))
    files = {}
    for path in paths:
        if path.suffix in _MEDIA_TYPES:
            async with aiofiles.open(path, "rb", executor=cpu_threads) as file:
                files[path.relative_to(directory).as_posix()] = await file.read()
    return files


def _prepare(files: dict[str, bytes], endpoint: str) -> _Assets:
    """Fill in the placeholders of ``index.html`` and compress every file."""
    digest = hashlib.sha256(b"".join(name.encode() + body for name, body in sorted(files.items()))).hexdigest()[:16]
    target = endpoint if urlsplit(endpoint).scheme else "./" + endpoint.lstrip("/")
    html = files["index.html"].decode()
    for name, value in {"endpoint": target, "address": endpoint, "assets": f"./page/{digest}"}.items():
        html = html.replace("{{" + name + "}}", escape(value))
    named = {name: _asset(name, body) for name, body in files.items() if name != "index.html"}
    return _Assets(digest, _asset("index.html", html.encode()), named)


def _asset(name: str, body: bytes) -> _Asset:
    # Weak, since the plain and the compressed form share it (RFC 9110, 8.8.3.3: a strong one of an encoded
    # representation "has to be distinct").
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _Asset(body, gzip.compress(body, 6, mtime=0), _MEDIA_TYPES[Path(name).suffix], etag)


def _content_security_policy(endpoint: str) -> str:
    """Allow only what the page needs: its own files, previews of chosen pictures, and the tus endpoint."""
    parts = urlsplit(endpoint)
    other_origin = f" {parts.scheme}://{parts.netloc}" if parts.scheme else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            f"connect-src 'self'{other_origin}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _respond(request: Request, asset: _Asset, cache_control: str, headers: dict[str, str]) -> Response:
    """Answer GET or HEAD with ``asset``, or with 304 if the client's ``If-None-Match`` lists its tag."""
    headers = {
        "Cache-Control": cache_control,
        "ETag": asset.etag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
    }
    if _matches(asset.etag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    body = asset.body
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = asset.compressed
    # RFC 9110, 9.3.2: HEAD "is identical to GET except that the server MUST NOT send content".
    headers |= {"Content-Length": str(len(body)), "Content-Type": asset.media_type}
    return Response(body if request.method == "GET" else b"", headers=headers)


def _matches(etag: str, if_none_match: str) -> bool:
    """Whether ``if_none_match`` lists ``etag``, compared weakly (RFC 9110, 13.1.2)."""
    listed = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag.removeprefix("W/") in listed or listed == {"*"}


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether ``accept_encoding`` lists gzip with a quality above zero (RFC 9110, 12.5.3)."""
    for item in accept_encoding.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" or not weight.strip()
    return False
