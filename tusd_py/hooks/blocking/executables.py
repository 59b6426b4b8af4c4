"""Hooks that are programs in a directory, each named as the hook it is for, as tusd runs them."""

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
from tusd_py.threads import DaemonThreads

log = logging.getLogger(__name__)

#: Programs that run at the same time; more wait, and count that wait as their own.
PROGRAMS_MAX = 32


class ExecutableHooks:
    """Runs the program of a hook in ``hooks``; where there is none, nobody objects."""

    def __init__(
        self,
        directory: Path,
        hooks: Collection[Hook],
        *,
        where: Callable[[Upload], Mapping[str, str]],
        count: CountInvocation,
        timeout_seconds: float,
    ) -> None:
        self._directory = directory
        self._hooks = frozenset(hooks)
        self._where = where
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._threads = DaemonThreads(PROGRAMS_MAX, "hook-program")

    def handles(self, hook: Hook) -> bool:
        """See ``HookHandler.wants``."""
        return hook in self._hooks

    async def invoke(self, event: HookRequest) -> HookResponse:
        """See ``HookHandler.ask``. The program, and what it has started, is killed when it takes too long."""
        if event.hook not in self._hooks:
            return HookResponse()
        body = format_request(event, self._where)
        program = _program(self._directory, event.hook, body, event.upload)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                said = await self._threads.run(_run, event.hook, program, self._timeout_seconds)
            answer = parse_response(event.hook, said)
        except (HookFailed, TimeoutError) as failure:
            self._count(event.hook, True)
            if isinstance(failure, TimeoutError):
                raise HookFailed(f"{event.hook} took more than {self._timeout_seconds:g} seconds") from failure
            raise
        finally:
            program.kill()
        self._count(event.hook, False)
        return answer

    async def close(self) -> None:
        """See ``HookHandler.close``."""


def run(directory: Path, hook: Hook, body: bytes, upload: Upload | None, timeout_seconds: float) -> bytes:
    """What the program of ``hook`` said, in bounded time; nothing where there is no such program.

    ``body`` is what it reads (``payload.format_event``). Blocks. Raises ``HookFailed``: it could not be started, took
    too long, said too much, or ended with another exit code than 0.
    """
    return _run(hook, _program(directory, hook, body, upload), timeout_seconds)


def _program(directory: Path, hook: Hook, body: bytes, upload: Upload | None) -> HookProcess:
    facts = {
        "TUS_ID": upload.id if upload else "",
        "TUS_SIZE": str((upload.length if upload else None) or 0),
        "TUS_OFFSET": str(upload.offset if upload else 0),
    }
    return HookProcess(directory / hook.value, body, facts)


def _run(hook: Hook, program: HookProcess, timeout_seconds: float) -> bytes:
    try:
        if not program.path.exists():
            return b""
        ended = program.run(timeout_seconds)
    except (ProcessFailed, OSError) as failure:
        raise HookFailed(f"{hook} ({program.path}) {failure}") from failure
    if ended.errors:
        log.info("hook %s wrote: %s", hook, excerpt(ended.errors))
    if ended.exit_code:
        raise HookFailed(f"{hook} ({program.path}) {_how(ended)}: {excerpt(ended.errors or ended.said)}")
    return ended.said


def _how(ended: ProcessResult) -> str:
    if ended.exit_code < 0:
        return f"was ended by signal {-ended.exit_code}"
    return f"ended with exit code {ended.exit_code}"
