"""The time that requests wait for hooks is reported, whether they succeed or fail, and so are outages."""

from __future__ import annotations

import pytest

from tests.support.harness import EPOCH
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.hooks.blocking.measured import MeasuredHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

pytestmark = pytest.mark.anyio


async def test_time_of_each_call_is_reported() -> None:
    """Success and failure are both measured; a hook without a function is not."""

    def fail(_: HookEvent) -> HookResponse:
        raise OSError("away")

    functions = {Hook.PRE_CREATE: lambda _: HookResponse(), Hook.PRE_FINISH: fail}
    observed: list[Hook] = []
    handler = MeasuredHooks(
        CallableHooks(functions, 5.0, lambda _hook, _failed: None), lambda hook, seconds: observed.append(hook)
    )
    upload = Upload(id="a", length=1, created_at=EPOCH, updated_at=EPOCH)
    await handler.invoke(HookEvent(Hook.PRE_CREATE, upload, None))
    await handler.invoke(HookEvent(Hook.POST_CREATE, upload, None))
    with pytest.raises(HookFailed):
        await handler.invoke(HookEvent(Hook.PRE_FINISH, upload, None))
    assert observed == [Hook.PRE_CREATE, Hook.PRE_FINISH]


async def test_outage_is_logged_at_its_beginning_and_end(caplog: pytest.LogCaptureFixture) -> None:
    """Of a hundred failures the first is a warning; the first success is logged, and the next outage is again."""
    is_down = True

    def answer(_: HookEvent) -> HookResponse:
        if is_down:
            raise OSError("away")
        return HookResponse()

    functions = {Hook.PRE_CREATE: answer}
    handler = MeasuredHooks(CallableHooks(functions, 5.0, lambda _hook, _failed: None), lambda _hook, _seconds: None)
    event = HookEvent(Hook.PRE_CREATE, Upload(id="a", length=1, created_at=EPOCH, updated_at=EPOCH), None)
    caplog.set_level("INFO", "tusd_py.hooks")
    for is_down in (*[True] * 100, False, False, True):
        try:
            await handler.invoke(event)
        except HookFailed:
            assert is_down
    levels = [record.levelname for record in caplog.records if record.name == "tusd_py.hooks"]
    assert ["WARNING", "INFO", "WARNING"] == levels
    assert "away" in vars(caplog.records[0])["reason"]
