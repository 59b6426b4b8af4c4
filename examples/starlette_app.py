"""Uploads in a Starlette application: ``uvicorn --app-dir examples starlette_app:app``, then upload to ``/files/``."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tusd_py import HookEvent, Tus

log = logging.getLogger("uvicorn.error")


def announce(event: HookEvent) -> None:
    """Runs at least once for every finished upload. It may block: it runs in a thread."""
    log.info("finished: %s, %s bytes", event.upload.id, event.upload.length)


async def home(_: Request) -> PlainTextResponse:
    return PlainTextResponse("upload to /files/\n")


uploads = Tus(data_dir="./data", post_finish=announce)
app = Starlette(routes=[Route("/", home), Mount("/files", uploads)], lifespan=uploads.lifespan)
