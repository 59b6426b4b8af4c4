"""Requests of the IETF draft: interim responses with 104, hooks, and hooks' changes to the draft's responses."""

from __future__ import annotations

import json

import pytest

from tests.unit.web.asgi import Outgoing, ask
from tests.unit.web.serving import MOUNTED, serving
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.service import Service

VERSION = {"Upload-Draft-Interop-Version": "8"}
Interims = list[tuple[int, dict[str, str]]]


async def request(
    service: Service,
    method: str,
    path: str,
    headers: dict[str, str],
    data: bytes = b"",
    *,
    interims: Interims | None = None,
) -> Outgoing:
    """One request of the draft. Interim responses are appended to ``interims``; with ``None`` the server has none."""

    def send_interim(status: int, fields: list[tuple[bytes, bytes]]) -> bool:
        assert interims is not None
        interims.append((status, {name.decode(): value.decode() for name, value in fields}))
        return True

    extensions = {} if interims is None else {"tusd_py": {"send_interim": send_interim}}
    return await ask(
        service.endpoint, method, MOUNTED + path, {**VERSION, **headers}, data, root_path=MOUNTED, extensions=extensions
    )


def append(offset: int, completes: str = "?1") -> dict[str, str]:
    return {
        "Upload-Offset": str(offset),
        "Upload-Complete": completes,
        "Content-Type": "application/partial-upload",
    }


async def create(service: Service, length: int) -> str:
    answer = await request(service, "POST", "/", {"Upload-Complete": "?0", "Upload-Length": str(length)})
    return answer.headers["location"].removeprefix(MOUNTED)


@pytest.mark.anyio
async def test_authorize_runs_for_every_append_403() -> None:
    """R18: authorize runs again for the request that would complete the upload; a refusal is a problem document."""
    allowed = {"POST", "HEAD"}

    def authorize(event: HookEvent) -> HookResponse:
        assert event.caller is not None
        return HookResponse(reject=event.caller.method not in allowed)

    async with serving({Hook.AUTHORIZE: authorize}) as service:
        path = await create(service, 3)
        refused = await request(service, "PATCH", path, append(0), b"abc")
        assert refused.status == 403
        assert refused.headers["content-type"] == "application/problem+json"
        assert json.loads(refused.body)["code"] == "ERR_ACCESS_DENIED"
        assert (await request(service, "HEAD", path, {})).headers["upload-offset"] == "0"
        allowed.add("PATCH")
        assert (await request(service, "PATCH", path, append(0), b"abc")).headers["upload-complete"] == "?1"


@pytest.mark.parametrize(
    ("use", "proxy", "statuses"),
    [
        ("auto", {}, [104, 104]),
        ("auto", {"Via": "1.1 varnish"}, []),
        ("auto", {"X-Forwarded-For": "10.0.0.7"}, []),
        ("always", {"Via": "1.1 varnish"}, [104, 104]),
        ("never", {}, []),
    ],
)
@pytest.mark.anyio
async def test_104_is_off_behind_a_proxy(use: str, proxy: dict[str, str], statuses: list[int]) -> None:
    """A proxy that shows, trusted or not, may take 104 for the final response; ``server.interim_responses`` decides."""
    interims: Interims = []
    async with serving(server={"interim_responses": use}) as service:
        answer = await request(service, "POST", "/", {"Upload-Complete": "?1", **proxy}, b"abc", interims=interims)
        path = answer.headers["location"].removeprefix(MOUNTED)
        assert (await request(service, "HEAD", path, {})).headers["upload-complete"] == "?1"
    assert (answer.status, [status for status, _ in interims]) == (201, statuses)


@pytest.mark.anyio
async def test_refused_creation_sends_no_104() -> None:
    """pre-create runs before any interim response; its override is the final response."""
    override = ResponseOverride(status=409, body="no room for cats")
    interims: Interims = []
    async with serving({Hook.PRE_CREATE: lambda _: HookResponse(reject=True, override=override)}) as service:
        refused = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", interims=interims)
    assert (refused.status, refused.body, interims) == (409, b"no room for cats", [])


@pytest.mark.anyio
async def test_pre_finish_overrides_the_final_response() -> None:
    """R4, R9: the override of pre-finish replaces the final response, Location included; the 104 names the upload."""
    override = ResponseOverride(status=200, headers={"Location": "/cats/7", "Content-Type": "text/plain"}, body="a cat")
    interims: Interims = []
    async with serving({Hook.PRE_FINISH: lambda _: HookResponse(override=override)}) as service:
        answer = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", interims=interims)
        assert (answer.status, answer.body, answer.headers["location"]) == (200, b"a cat", "/cats/7")
        assert answer.headers["upload-complete"] == "?1"
        status, headers = interims[0]
        assert (status, headers["location"].rpartition("/")[0]) == (104, "/files")
        path = await create(service, 3)
        last = await request(service, "PATCH", path, append(0), b"abc")
        assert (last.status, last.body, last.headers["upload-complete"]) == (200, b"a cat", "?1")


@pytest.mark.anyio
async def test_failed_pre_finish_runs_again_500() -> None:
    """If pre-finish fails, the bytes are stored but the upload is not complete; the next append runs it again."""
    failures = [OSError("away")]

    def finish(_: HookEvent) -> None:
        if failures:
            raise failures.pop()

    async with serving({Hook.PRE_FINISH: finish}) as service:
        path = await create(service, 3)
        failed = await request(service, "PATCH", path, append(0), b"abc")
        assert (failed.status, failed.headers["upload-complete"]) == (500, "?0")
        again = await request(service, "PATCH", path, append(3))
        assert (again.status, again.headers["upload-complete"]) == (201, "?1")


@pytest.mark.anyio
async def test_104_names_the_id_of_pre_create() -> None:
    """If pre-create chooses the id, the 104 and Location name it; an id in use is refused with 409."""
    interims: Interims = []
    async with serving({Hook.PRE_CREATE: lambda _: HookResponse(upload_id="cat")}) as service:
        answer = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", interims=interims)
        assert answer.headers["location"] == interims[0][1]["location"] == "/files/cat"
        taken = await request(service, "POST", "/", {"Upload-Complete": "?1"}, b"abc", interims=interims)
        assert (taken.status, json.loads(taken.body)["code"]) == (409, "ERR_UPLOAD_EXISTS")
        assert (await request(service, "HEAD", "/cat", {})).headers["upload-complete"] == "?1"
