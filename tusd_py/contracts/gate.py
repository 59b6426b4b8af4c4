"""The contract of the gate: hooks in tusd's names that may answer for a request, or are told what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tusd_py.protocol.outcomes import Overlay
from tusd_py.protocol.requests import Caller
from tusd_py.protocol.upload import Upload


class Hook(StrEnum):
    """tusd's seven hooks. The ``pre-`` ones are asked and may refuse; the others are told."""

    PRE_CREATE = "pre-create"
    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"
    PRE_FINISH = "pre-finish"
    POST_FINISH = "post-finish"
    PRE_TERMINATE = "pre-terminate"
    POST_TERMINATE = "post-terminate"


class GateFailed(Exception):
    """A hook failed or took too long. Its text is for the log, never for the client."""


@dataclass(frozen=True, slots=True)
class HookEvent:
    """What a hook is told: which hook it is, the upload as it stands, and the request that brought it about.

    ``caller`` is ``None`` when no request did (a restart, a background task).
    """

    hook: Hook
    upload: Upload
    caller: Caller | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAnswer:
    """What a hook may answer; an empty answer lets things take their course.

    ``reject`` refuses a creation (pre-create) or a termination (pre-terminate). ``stop`` (post-receive) ends the
    running upload and terminates it. ``upload_id`` and ``metadata`` (pre-create) replace what the server or the
    client chose; metadata values are text or bytes. ``overlay`` is laid over the response.
    """

    reject: bool = False
    stop: bool = False
    upload_id: str | None = None
    metadata: Mapping[str, str | bytes] | None = None
    overlay: Overlay | None = None


class Gate(Protocol):
    """Carries hooks to whoever wants them."""

    def wants(self, hook: Hook) -> bool:
        """Whether anybody listens to ``hook``; asking nobody costs nothing."""
        ...

    async def ask(self, event: HookEvent) -> HookAnswer:
        """Ask the hook and wait for its answer, in bounded time. Raises ``GateFailed``."""
        ...
