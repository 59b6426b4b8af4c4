"""Several hook handlers as one: in order, each with the changes so far, until the first rejection."""

from __future__ import annotations

import pytest

from tests.support.harness import CALLER, EPOCH
from tusd_py.contracts.hooks import AuthorizeEvent, HookEvent, HookFailed, HookFunctions, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.hooks.blocking.chain import HookChain
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride

pytestmark = pytest.mark.anyio

EVENT = HookEvent(Hook.PRE_CREATE, Upload(id="", length=1, created_at=EPOCH, updated_at=EPOCH), None)


def chain(*links: HookFunctions) -> HookChain:
    return HookChain([CallableHooks(functions, 5, lambda _hook, _failed: None) for functions in links])


async def test_changes_reach_the_next_handler_and_later_ones_win() -> None:
    """Id and metadata are passed on; the override is merged field by field."""
    seen: list[tuple[str, str | None]] = []

    def first(_: HookEvent) -> HookResponse:
        override = ResponseOverride(status=200, headers={"A": "1", "B": "1"}, body="first")
        return HookResponse(upload_id="one", metadata={"a": "x"}, override=override)

    def second(event: HookEvent) -> HookResponse:
        seen.append((event.upload.id, event.upload.metadata_header))
        return HookResponse(metadata={}, override=ResponseOverride(headers={"B": "2"}))

    response = await chain(
        {Hook.PRE_CREATE: first}, {}, {Hook.PRE_CREATE: second}, {Hook.PRE_CREATE: lambda _: None}
    ).invoke(EVENT)
    assert seen == [("one", "a eA==")]
    override = ResponseOverride(status=200, headers={"A": "1", "B": "2"}, body="first")
    assert response == HookResponse(upload_id="one", metadata={}, override=override)


async def test_the_first_rejection_ends_the_chain() -> None:
    """No handler after it is invoked, and earlier overrides do not apply to it."""
    agreed = HookResponse(override=ResponseOverride(status=201, headers={"A": "1"}))
    refused = HookResponse(reject=True, override=ResponseOverride(body="no"))
    links: list[HookFunctions] = [{Hook.PRE_CREATE: lambda _: agreed}, {Hook.PRE_CREATE: lambda _: refused}]
    invoked: list[HookEvent] = []
    assert await chain(*links, {Hook.PRE_CREATE: invoked.append}).invoke(EVENT) == refused
    assert invoked == []


async def test_the_first_failure_ends_the_chain() -> None:
    """No handler after it is invoked."""
    invoked: list[HookEvent] = []
    links: list[HookFunctions] = [{Hook.PRE_CREATE: lambda _: 1 / 0}, {Hook.PRE_CREATE: invoked.append}]  # type: ignore[dict-item,return-value]  # what fails has no type
    with pytest.raises(HookFailed):
        await chain(*links).invoke(EVENT)
    assert invoked == []


async def test_the_chain_handles_what_any_handler_handles() -> None:
    """Only these handlers are invoked; authorize has no upload to change."""
    invoked: list[AuthorizeEvent] = []
    handlers = chain({}, {Hook.AUTHORIZE: invoked.append}, {Hook.PRE_FINISH: lambda _: None})
    assert {hook for hook in Hook if handlers.handles(hook)} == {Hook.AUTHORIZE, Hook.PRE_FINISH}
    event = AuthorizeEvent(None, CALLER)
    assert await handlers.invoke(event) == HookResponse()
    assert invoked == [event]
    await handlers.close()
