"""``/openapi.json`` and ``/docs``: the description of the API, and Swagger UI that shows it, from vendored files."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tusd_py.threads import cpu_threads, in_executor
from tusd_py.web.api.openapi import load_document

#: The files of the page, beside this module in the package.
DIRECTORY = Path(__file__).with_name("swagger")

_HTML = "text/html; charset=utf-8"
_FILES = {
    "index.html": _HTML,
    "start.js": "text/javascript; charset=utf-8",
    "vendor/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "vendor/swagger-ui.css": "text/css; charset=utf-8",
}
_DOCUMENT = "openapi.json"

# Swagger UI sets styles by scripts, which the policy permits, and has pictures in its style sheet.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def documentation_routes() -> list[BaseRoute]:
    """Return the routes. The first request reads the files; later ones read none."""
    files = _DocumentationFiles()
    return [
        Route("/openapi.json", files.serve_document),
        Route("/docs", files.serve_index),
        Route("/docs/{name}", files.serve_file),
    ]


@dataclass(frozen=True, slots=True)
class _StaticFile:
    """A file in its compressed form."""

    compressed: bytes
    media_type: str
    etag: str


class _DocumentationFiles:
    """The files, which are loaded once and kept in memory."""

    def __init__(self) -> None:
        self._loading = asyncio.Lock()
        self._loaded: Mapping[str, _StaticFile] | None = None

    async def serve_document(self, request: Request) -> Response:
        return await self._respond(request, _DOCUMENT)

    async def serve_index(self, request: Request) -> Response:
        return await self._respond(request, "index.html")

    async def serve_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in (_DOCUMENT, "index.html"):
            raise HTTPException(404)
        return await self._respond(request, name)

    async def _respond(self, request: Request, name: str) -> Response:
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    self._loaded = await in_executor(cpu_threads, _load)
        file = self._loaded.get(name)
        if file is None:
            raise HTTPException(404)
        headers = {
            "Cache-Control": "no-cache",
            "ETag": file.etag,
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": _POLICY,
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = file.compressed
        if "gzip" in request.headers.get("accept-encoding", "").replace("gzip;q=0", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            body = await in_executor(cpu_threads, gzip.decompress, body)
        return Response(body, headers=headers, media_type=file.media_type)


def _load() -> Mapping[str, _StaticFile]:
    files = {Path(name).name: _file((DIRECTORY / name).read_bytes(), kind) for name, kind in _FILES.items()}
    document = json.dumps(load_document(), ensure_ascii=False).encode()
    return {**files, _DOCUMENT: _file(document, "application/json")}


def _file(body: bytes, media_type: str) -> _StaticFile:
    # Weak, because the plain and the compressed form share it.
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _StaticFile(gzip.compress(body, 6, mtime=0), media_type, etag)
