"""The page at ``/``: Uppy's Dashboard and the files it is made of, served from memory with strict headers.

Not here: uploading, which the page does through the tus endpoint like every other client.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A year, the longest that caches are known to honour.
_FOR_EVER = f"public, max-age={365 * 24 * 60 * 60}, immutable"


@dataclass(frozen=True)
class _Asset:
    """A file of the page, ready to be sent plain or compressed."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str


def page_routes(endpoint: str) -> list[BaseRoute]:
    """Return the routes of the page; all files are read now, so that no request touches the disk.

    ``endpoint`` is the public URL of the tus endpoint, or its path below the page (``/files/``). A path is given to
    the browser relative to the page, so it holds behind any prefix, whether a proxy or a mount put it there.
    """
    sources = dict(_sources(files(__package__) / "page"))
    digest = hashlib.sha256(b"".join(name.encode() + body for name, body in sorted(sources.items()))).hexdigest()[:16]
    target = endpoint if urlsplit(endpoint).scheme else "./" + endpoint.lstrip("/")
    html = sources.pop("index.html").decode()
    for name, value in {"endpoint": target, "address": endpoint, "assets": f"./page/{digest}"}.items():
        html = html.replace("{{" + name + "}}", escape(value))
    index = _asset("index.html", html.encode())
    assets = {name: _asset(name, body) for name, body in sources.items()}
    policy = _content_security_policy(endpoint)

    async def serve_index(request: Request) -> Response:
        return _answer(request, index, "no-cache", {"Content-Security-Policy": policy})

    async def serve_asset(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        # The digest in the path changes with any file, so what it names never changes. A page from before
        # an upgrade still gets an answer, but nobody may keep that one under the old name.
        current = request.path_params["digest"] == digest
        return _answer(request, asset, _FOR_EVER if current else "no-cache", {})

    return [Route("/", serve_index), Route("/page/{digest}/{name:path}", serve_asset)]


def _sources(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the path below ``folder`` and the bytes of every file the page can use."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in _MEDIA_TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _asset(name: str, body: bytes) -> _Asset:
    # Weak, since the plain and the compressed form share it (RFC 9110, 8.8.3.3: a strong one of an encoded
    # representation "has to be distinct").
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _Asset(body, gzip.compress(body, 6, mtime=0), _MEDIA_TYPES[_suffix(name)], etag)


def _content_security_policy(endpoint: str) -> str:
    """Allow what the page does and nothing else: own files, previews of chosen pictures, and the tus endpoint."""
    parts = urlsplit(endpoint)
    elsewhere = f" {parts.scheme}://{parts.netloc}" if parts.scheme else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            f"connect-src 'self'{elsewhere}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _answer(request: Request, asset: _Asset, cache_control: str, headers: dict[str, str]) -> Response:
    """Answer GET or HEAD with ``asset``, or 304 when the client already has it."""
    headers = {
        "Cache-Control": cache_control,
        "ETag": asset.etag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
    }
    if _names(asset.etag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    body = asset.body
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = asset.compressed
    # RFC 9110, 9.3.2: HEAD "is identical to GET except that the server MUST NOT send content".
    headers |= {"Content-Length": str(len(body)), "Content-Type": asset.media_type}
    return Response(body if request.method == "GET" else b"", headers=headers)


def _names(etag: str, if_none_match: str) -> bool:
    """Whether ``if_none_match`` lists ``etag``, compared weakly (RFC 9110, 13.1.2)."""
    listed = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return etag.removeprefix("W/") in listed or listed == {"*"}


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named and not refused with a quality of zero (RFC 9110, 12.5.3)."""
    for one in accept_encoding.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" or not weight.strip()
    return False
