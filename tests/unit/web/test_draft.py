"""Hooks in the IETF's draft: asked as for tus, and what they want changed is laid over answers of its kind."""

from __future__ import annotations

import json

from tests.support.loops import on_loop
from tests.unit.web.asgi import Outgoing, ask
from tests.unit.web.test_endpoint import MOUNTED, serving
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.service import Service

VERSION = {"Upload-Draft-Interop-Version": "8"}
Told = list[tuple[int, dict[str, str]]]


async def request(
    service: Service, method: str, path: str, headers: dict[str, str], data: bytes = b"", *, told: Told | None = None
) -> Outgoing:
    """One request of the draft; ``told`` takes the interim answers, where the server can send any."""

    def inform(status: int, fields: list[tuple[bytes, bytes]]) -> bool:
        assert told is not None
        told.append((status, {name.decode(): value.decode() for name, value in fields}))
        return True

    extensions = {} if told is None else {"tusd_py": {"send_interim": inform}}
    given = {**VERSION, **headers}
    return await ask(service.endpoint, method, MOUNTED + path, given, data, root_path=MOUNTED, extensions=extensions)


def append(offset: int, completes: str = "?1") -> dict[str, str]:
    return {
        "Upload-Offset": str(offset),
        "Upload-Complete": completes,
        "Content-Type": "application/partial-upload",
    }


async def made(service: Service, length: int) -> str:
    answer = await request(service, "POST", "/", {"Upload-Complete": "?0", "Upload-Length": str(length)})
    return answer.headers["location"].removeprefix(MOUNTED)


@on_loop
async def test_rights_are_asked_for_again() -> None:
    """R18: a client that may no longer write when it comes to complete its upload does not complete it."""
    allowed = {"POST", "HEAD"}

    def authorize(event: HookEvent) -> HookResponse:
        assert event.caller is not None
        return HookResponse(reject=event.caller.method not in allowed)

    async with serving({Hook.AUTHORIZE: authorize}) as service:
        path = await made(service, 3)
        refused = await request(service, "PATCH", path, append(0), b"abc")
        assert refused.status == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert json.loads(refused.body)["code"] == "ERR_ACCESS_DENIED"
        assert (await request(service, "HEAD", path, {})).headers["upload-offset"] == "0"
        allowed.add("PATCH")
        assert (await request(service, "PATCH", path, append(0), b"abc")).headers["upload-complete"] == "?1"


@on_loop
async def test_a_refused_creation_has_no_url() -> None:
    """pre-create is asked before any interim answer; what it says stands in the answer."""
    overlay = ResponseOverride(status=409, body="no room for cats")
    told: Told = []
    async with serving({Hook.PRE_CREATE: lambda _: HookResponse(reject=True, override=overlay)}) as service:
        refused = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", told=told)
    assert (refused.status, refused.body, told) == (409, b"no room for cats", [])


@on_loop
async def test_the_resource_answers_in_the_end() -> None:
    """R4, R9: what pre-finish says answers the whole upload, Location and all; the 104 told the upload's own."""
    overlay = ResponseOverride(status=200, headers={"Location": "/cats/7", "Content-Type": "text/plain"}, body="a cat")
    told: Told = []
    async with serving({Hook.PRE_FINISH: lambda _: HookResponse(override=overlay)}) as service:
        answer = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", told=told)
        assert (answer.status, answer.body, answer.headers["location"]) == (200, b"a cat", "/cats/7")
        assert answer.headers["upload-complete"] == "?1"
        status, interim = told[0]
        assert (status, interim["location"].rpartition("/")[0]) == (104, "/files")
        path = await made(service, 3)
        last = await request(service, "PATCH", path, append(0), b"abc")
        assert (last.status, last.body, last.headers["upload-complete"]) == (200, b"a cat", "?1")


@on_loop
async def test_a_failed_hook_is_asked_again() -> None:
    """All is stored when pre-finish fails: told 500 and not complete, the client comes back, and it is asked again."""
    failures = [OSError("away")]

    def finish(_: HookEvent) -> None:
        if failures:
            raise failures.pop()

    async with serving({Hook.PRE_FINISH: finish}) as service:
        path = await made(service, 3)
        failed = await request(service, "PATCH", path, append(0), b"abc")
        assert (failed.status, failed.headers["upload-complete"]) == (500, "?0")
        again = await request(service, "PATCH", path, append(3))
        assert (again.status, again.headers["upload-complete"]) == (201, "?1")


@on_loop
async def test_an_id_that_a_hook_chose() -> None:
    """The 104 names the upload as the hook has it."""
    told: Told = []
    async with serving({Hook.PRE_CREATE: lambda _: HookResponse(upload_id="cat")}) as service:
        answer = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", told=told)
        assert answer.headers["location"] == told[0][1]["location"] == "/files/cat"
        taken = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", told=told)
        assert (taken.status, json.loads(taken.body)["code"]) == (409, "ERR_UPLOAD_EXISTS")
        assert (await request(service, "HEAD", "/cat", {})).headers["upload-complete"] == "?1"
