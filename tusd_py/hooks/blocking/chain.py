"""Several hook handlers as one: invoked in order, each with the changes of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tusd_py.contracts.hooks import HookEvent, HookHandler, HookRequest, HookResponse
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind


class HookChain:
    """Invokes every handler that handles a hook. The first rejection or failure ends the chain."""

    def __init__(self, handlers: Sequence[HookHandler]) -> None:
        self._handlers = tuple(handlers)
        self._hooks = frozenset(hook for hook in Hook if any(handler.handles(hook) for handler in handlers))
        self._hooks_of_partial = frozenset(
            hook for hook in self._hooks if any(handler.handles_partial(hook) for handler in handlers)
        )

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.handles``."""
        return hook in self._hooks

    def handles_partial(self, hook: Hook) -> bool:
        """See ``HookHandler.handles_partial``."""
        return hook in self._hooks_of_partial

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``."""
        merged = HookResponse()
        is_partial = event.upload is not None and event.upload.kind is Kind.PARTIAL
        for handler in self._handlers:
            if not (handler.handles_partial(event.hook) if is_partial else handler.handles(event.hook)):
                continue
            response = await handler.invoke(event)
            merged = merged.merged_with(response)
            if merged.reject or merged.stop:
                break
            if isinstance(event, HookEvent):
                event = replace(event, upload=response.applied_to(event.upload))
        return merged

    async def close(self) -> None:
        """See ``HookHandler.close``."""
        for handler in self._handlers:
            await handler.close()
