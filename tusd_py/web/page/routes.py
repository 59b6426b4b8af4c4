"""The routes of the page with Uppy's Dashboard: it and its files are served from memory, in the visitor's language.

The page uploads through the tus endpoint like every other client; nothing here receives an upload.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tusd_py.threads import cpu_threads, in_executor
from tusd_py.web.page.files import MEDIA_TYPES, PageFile, PageFiles, PageOptions, prepare
from tusd_py.web.page.languages import choose_language

#: The files of the page, beside this module in the package.
DIRECTORY = Path(__file__).with_name("static")

# One year: caches are not required to honour a longer time.
_IMMUTABLE = f"public, max-age={365 * 24 * 60 * 60}, immutable"


def page_routes(options: PageOptions, directory: Path = DIRECTORY) -> list[BaseRoute]:
    """Return the routes of the page. The first request reads the files in ``directory``; later ones read none."""
    page = _Page(options, directory)
    return [Route("/", page.serve_index), Route("/page/{digest}/{name:path}", page.serve_file)]


class _Page:
    """The page's endpoints and its files, which are loaded once and kept in memory."""

    def __init__(self, options: PageOptions, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self._policy = _content_security_policy(options.endpoint)
        self._loading = asyncio.Lock()
        self._loaded: PageFiles | None = None

    async def serve_index(self, request: Request) -> Response:
        files = await self._files()
        language = choose_language(request.headers.get("accept-language", ""), files.languages)
        headers = {
            "Content-Security-Policy": self._policy,
            "Content-Language": language,
            "Vary": "Accept-Encoding, Accept-Language",
        }
        return _respond(request, files.indexes[language], "no-cache", headers)

    async def serve_file(self, request: Request) -> Response:
        files = await self._files()
        file = files.named.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        # A path with the current digest always names the same bytes. A page from before an upgrade asks with an old
        # digest: it gets the new file, but caches must not keep that under the old path.
        is_current = request.path_params["digest"] == files.digest
        # A logo in SVG is only a picture here: opened by itself it must not run scripts in this origin.
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
        return _respond(request, file, _IMMUTABLE if is_current else "no-cache", headers)

    async def _files(self) -> PageFiles:
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    sources = await _read_files(self._directory)
                    # Compressing takes tens of milliseconds: in a thread, so that the event loop goes on.
                    self._loaded = await in_executor(cpu_threads, prepare, sources, self._options)
        return self._loaded


async def _read_files(directory: Path) -> dict[str, bytes]:
    """The bytes of every file that the page can use, by its path below ``directory``."""
    import aiofiles  # only servers whose page is opened need it

    paths = await in_executor(cpu_threads, lambda: sorted(directory.rglob("*")))
    files = {}
    for path in paths:
        if path.suffix in MEDIA_TYPES:
            async with aiofiles.open(path, "rb", executor=cpu_threads) as file:
                files[path.relative_to(directory).as_posix()] = await file.read()
    return files


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


def _respond(request: Request, file: PageFile, cache_control: str, headers: dict[str, str]) -> Response:
    """Answer GET or HEAD with ``file``, or with 304 if the client's ``If-None-Match`` lists its tag."""
    headers = {
        "Cache-Control": cache_control,
        "ETag": file.etag,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
    }
    if _matches(file.etag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    body = file.body
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = file.compressed
    # RFC 9110, 9.3.2: HEAD "is identical to GET except that the server MUST NOT send content".
    headers |= {"Content-Length": str(len(body)), "Content-Type": file.media_type}
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
