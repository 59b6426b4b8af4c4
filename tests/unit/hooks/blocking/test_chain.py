"""Several gates as one: in order, each seeing what was changed, until the first refusal."""

from __future__ import annotations

import pytest

from tests.support.harness import CALLER, EPOCH
from tests.support.loops import on_loop
from tusd_py.contracts.hooks import AuthorizeEvent, HookEvent, HookFailed, HookFunctions, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.hooks.blocking.chain import HookChain
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride

EVENT = HookEvent(Hook.PRE_CREATE, Upload(id="", length=1, created_at=EPOCH, updated_at=EPOCH), None)


def chain(*links: HookFunctions) -> HookChain:
    return HookChain([CallableHooks(functions, 5, lambda _hook, _failed: None) for functions in links])


@on_loop
async def test_changes_are_seen_by_the_next_and_the_later_counts() -> None:
    """Id and metadata go on; the overlay is merged field by field."""
    seen: list[tuple[str, str | None]] = []

    def first(_: HookEvent) -> HookResponse:
        overlay = ResponseOverride(status=200, headers={"A": "1", "B": "1"}, body="first")
        return HookResponse(upload_id="one", metadata={"a": "x"}, override=overlay)

    def second(event: HookEvent) -> HookResponse:
        seen.append((event.upload.id, event.upload.metadata_header))
        return HookResponse(metadata={}, override=ResponseOverride(headers={"B": "2"}))

    answer = await chain(
        {Hook.PRE_CREATE: first}, {}, {Hook.PRE_CREATE: second}, {Hook.PRE_CREATE: lambda _: None}
    ).invoke(EVENT)
    assert seen == [("one", "a eA==")]
    overlay = ResponseOverride(status=200, headers={"A": "1", "B": "2"}, body="first")
    assert answer == HookResponse(upload_id="one", metadata={}, override=overlay)


@on_loop
async def test_the_first_refusal_ends_it_and_stands_for_itself() -> None:
    """Nobody is asked after it, and nothing that agreed before is laid over it."""
    agreed = HookResponse(override=ResponseOverride(status=201, headers={"A": "1"}))
    refused = HookResponse(reject=True, override=ResponseOverride(body="no"))
    links: list[HookFunctions] = [{Hook.PRE_CREATE: lambda _: agreed}, {Hook.PRE_CREATE: lambda _: refused}]
    asked: list[HookEvent] = []
    assert await chain(*links, {Hook.PRE_CREATE: asked.append}).invoke(EVENT) == refused
    assert asked == []


@on_loop
async def test_the_first_failure_ends_it() -> None:
    """What fails is not made up for by who comes later."""
    asked: list[HookEvent] = []
    links: list[HookFunctions] = [{Hook.PRE_CREATE: lambda _: 1 / 0}, {Hook.PRE_CREATE: asked.append}]  # type: ignore[dict-item,return-value]  # what fails has no type
    with pytest.raises(HookFailed):
        await chain(*links).invoke(EVENT)
    assert asked == []


@on_loop
async def test_it_wants_what_any_of_them_wants() -> None:
    """Who wants a hook is asked, the others are not; authorize has no upload to change."""
    asked: list[AuthorizeEvent] = []
    gates = chain({}, {Hook.AUTHORIZE: asked.append}, {Hook.PRE_FINISH: lambda _: None})
    assert {hook for hook in Hook if gates.handles(hook)} == {Hook.AUTHORIZE, Hook.PRE_FINISH}
    event = AuthorizeEvent(None, CALLER)
    assert await gates.invoke(event) == HookResponse()
    assert asked == [event]
    await gates.close()
