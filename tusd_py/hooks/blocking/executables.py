"""Hooks that are programs in a directory, each named like the hook it handles, as tusd runs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tusd_py.contracts.hooks import HookFailed, HookRequest, HookResponse
from tusd_py.hooks.process import HookProcess, ProcessFailed, ProcessResult
from tusd_py.hooks.responses import CountInvocation
from tusd_py.hooks.tusd_json import excerpt, format_request, parse_response
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload

log = logging.getLogger(__name__)

#: Programs that run at the same time. Further hooks wait, and the wait counts against their time limit.
PROGRAMS_MAX = 32


class ExecutableHooks:
    """Runs the programs of ``hooks`` in ``directory``. A hook without a program is accepted."""

    def __init__(
        self,
        directory: Path,
        hooks: Collection[Hook],
        *,
        location: Callable[[Upload], Mapping[str, str]],
        count: CountInvocation,
        timeout_seconds: float,
    ) -> None:
        self._directory = directory
        self._hooks = frozenset(hooks)
        self._location = location
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(PROGRAMS_MAX)

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.handles``."""
        return hook in self._hooks

    def handles_partial(self, hook: Hook) -> bool:
        """See ``HookHandler.handles_partial``: receivers written for tusd are asked, as by tusd."""
        return hook in self._hooks

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.invoke``. A program that takes too long is killed with every process it has started."""
        if event.hook not in self._hooks:
            return HookResponse()
        body = format_request(event, self._location)
        try:
            async with asyncio.timeout(self._timeout_seconds), self._slots:
                stdout = await run_executable(
                    self._directory, event.hook, body, event.upload, timeout_seconds=self._timeout_seconds
                )
            response = parse_response(event.hook, stdout)
        except TimeoutError as failure:
            self._count(event.hook, True)
            raise HookFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
        except HookFailed:
            self._count(event.hook, True)
            raise
        self._count(event.hook, False)
        return response

    async def close(self) -> None:
        """See ``HookHandler.close``."""


async def run_executable(
    directory: Path, hook: Hook, body: bytes, upload: Upload | None, *, timeout_seconds: float
) -> bytes:
    """Run the program of ``hook`` and return its standard output; empty if there is no such program.

    ``body`` is its standard input (``tusd_json.format_event``). Raises ``HookFailed`` if it could not be started, took
    too long, wrote too much, or exited with another code than 0.
    """
    path = directory / hook.value
    environment = {
        "TUS_ID": upload.id if upload else "",
        "TUS_SIZE": str((upload.length if upload else None) or 0),
        "TUS_OFFSET": str(upload.offset if upload and hook is not Hook.POST_CREATE else 0),  # as in tusd
    }
    try:
        # Not in a thread: looking up one local name takes less time than the switch.
        if not path.exists():
            return b""
        result = await HookProcess(path, body, environment).run(timeout_seconds)
    except (ProcessFailed, OSError) as failure:
        raise HookFailed(f"{hook} ({path}) {failure}") from failure
    if result.stderr:
        log.info("hook %s wrote to standard error: %s", hook, excerpt(result.stderr))
    if result.exit_code:
        raise HookFailed(f"{hook} ({path}) {_describe_exit(result)}: {excerpt(result.stderr or result.stdout)}")
    return result.stdout


def _describe_exit(result: ProcessResult) -> str:
    if result.exit_code < 0:
        return f"was killed by signal {-result.exit_code}"
    return f"exited with code {result.exit_code}"
