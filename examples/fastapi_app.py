"""Uploads in a FastAPI application: ``uvicorn --app-dir examples fastapi_app:app``, then upload to ``/files/``."""

from __future__ import annotations

from fastapi import FastAPI

from tusd_py import HookEvent, HookResponse, ResponseOverride, Tus

finished: list[str] = []


async def only_small(event: HookEvent) -> HookResponse | None:
    """Refuses a large upload before its first byte is sent."""
    if event.upload.length is not None and event.upload.length > 1024**3:
        return HookResponse(reject=True, override=ResponseOverride(status=413, body="at most 1 GiB\n"))
    return None


async def remember(event: HookEvent) -> None:
    """Runs at least once for every finished upload, so it checks whether the id is already known."""
    if event.upload.id not in finished:
        finished.append(event.upload.id)


uploads = Tus(data_dir="./data", pre_create=only_small, post_finish=remember)
app = FastAPI(lifespan=uploads.lifespan)
app.mount("/files", uploads)


@app.get("/finished")
async def list_finished() -> list[str]:
    return finished
