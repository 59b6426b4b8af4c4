"""Several gates as one: asked in order, each seeing what those before it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tusd_py.contracts.hooks import HookEvent, HookHandler, HookRequest, HookResponse
from tusd_py.model.hooks import Hook


class HookChain:
    """Asks every gate that wants a hook; the first refusal, or failure, ends it."""

    def __init__(self, gates: Sequence[HookHandler]) -> None:
        self._gates = tuple(gates)
        self._wanted = frozenset(hook for hook in Hook if any(handler.handles(hook) for handler in gates))

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.wants``."""
        return hook in self._wanted

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.ask``."""
        merged = HookResponse()
        for handler in self._gates:
            if not handler.handles(event.hook):
                continue
            answer = await handler.invoke(event)
            merged = merged.merged_with(answer)
            if merged.reject or merged.stop:
                break
            if isinstance(event, HookEvent):
                event = replace(event, upload=answer.applied_to(event.upload))
        return merged

    async def close(self) -> None:
        """See ``HookHandler.close``."""
        for handler in self._gates:
            await handler.close()
