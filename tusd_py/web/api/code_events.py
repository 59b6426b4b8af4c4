"""The state of an access code as server-sent events: what is left of it, its last seconds, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from starlette.responses import Response, StreamingResponse

from tusd_py.access.ports import AccessPorts
from tusd_py.access.watchers import TooManyWatchers, Watchers
from tusd_py.contracts.codes import AccessCodes
from tusd_py.contracts.records import RecordsError
from tusd_py.model.codes import AccessCode, CodeState
from tusd_py.uploads.expire_grants import WARNED_BEFORE
from tusd_py.web.api.call import Call
from tusd_py.web.api.problems import ApiError

#: The code is looked at this often.
_LOOK_SECONDS = 1.0
#: A message is sent this often even if nothing has changed, so that proxies keep the connection.
_SILENCE_LOOKS = 15
#: A stream ends after so many looks, and the client opens another: its token is looked at again then.
_LOOKS_MAX = 3600

CodeView = Callable[[AccessCode, datetime], dict[str, object]]


def code_events(call: Call, access: AccessPorts, codes: AccessCodes, code: AccessCode, view: CodeView) -> Response:
    """The stream of one code. Raises ``ApiError`` if the client has too many of them."""
    try:
        access.watchers.ensure_allowed(call.address)
    except TooManyWatchers:
        raise ApiError(429, "this client watches too many access codes", headers={"retry-after": "30"}) from None
    headers = {"x-accel-buffering": "no"}
    if call.request.method == "HEAD":
        # A stream without its messages would keep the connection, and the place of a watcher, for nothing.
        return Response(media_type="text/event-stream", headers=headers)
    stream = CodeStream(call, access.watchers, codes, code, view)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


class CodeStream:
    """The messages of one stream. It ends when the code ends, or the server."""

    def __init__(self, call: Call, watchers: Watchers, codes: AccessCodes, code: AccessCode, view: CodeView) -> None:
        self._call = call
        self._watchers = watchers
        self._codes = codes
        self._code = code
        self._view = view
        self._looks = 0
        self._has_warned = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Counted here: a response whose client has gone before is never iterated.
        with self._watchers.counted(self._call.address):
            yield self._message("state")
            while self._looks < _LOOKS_MAX and not self._call.is_draining():
                if (name := self._name()) is not None:
                    yield self._message(name)
                    if name == "ended":
                        return
                await asyncio.sleep(_LOOK_SECONDS)
                self._looks += 1
                before = self._code
                if not await self._look():
                    return
                if self._code != before or self._looks % _SILENCE_LOOKS == 0:
                    self._has_warned = self._has_warned and self._code.expires_at == before.expires_at
                    yield self._message("state")

    async def _look(self) -> bool:
        """Read the code again; False if that fails: the client will ask again."""
        try:
            code = await self._codes.find(self._code.id)
        except RecordsError:
            return False
        if code is not None:
            self._code = code
        return code is not None

    def _name(self) -> str | None:
        """The event to send now: the end, once the last seconds, or none (empty)."""
        now = self._call.ports.clock()
        if self._code.state(now) is not CodeState.ACTIVE:
            return "ended"
        if not self._has_warned and self._code.expires_at - now <= WARNED_BEFORE:
            self._has_warned = True
            return "expiring"
        return None

    def _message(self, name: str) -> bytes:
        data = json.dumps(self._view(self._code, self._call.ports.clock()))
        return f"event: {name}\ndata: {data}\n\n".encode()
