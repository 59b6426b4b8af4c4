"""``/api/uploads``."""

from __future__ import annotations

from tusd_py.views import upload_view
from tusd_py.web.api.call import Access, ApiRoute, Call


async def show_upload(call: Call) -> object:
    return upload_view(await call.visible_upload(call.path("upload_id")))


ROUTES = (ApiRoute("GET", "/api/uploads/{upload_id}", show_upload, Access.PRINCIPAL),)
