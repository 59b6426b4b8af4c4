"""The time that requests wait for hooks is reported, whether they succeed or fail."""

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
