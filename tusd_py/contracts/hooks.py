"""The contract of the gate: hooks in tusd's names that may answer for a request, or are told what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tusd_py.contracts.store import PATH
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.metadata import format_metadata
from tusd_py.protocol.outcomes import ResponseOverride


class HookFailed(Exception):
    """A hook failed or took too long. Its text is for the log, never for the client."""


@dataclass(frozen=True, slots=True)
class HookEvent:
    """What a hook is told: which hook it is, the upload as it stands, and the request that brought it about.

    ``caller`` is ``None`` when no request did (a restart, a background task).
    """

    hook: Hook
    upload: Upload
    caller: Caller | None


@dataclass(frozen=True, slots=True)
class AuthorizeEvent:
    """What ``authorize`` is told: who asks for what, and the upload as recorded; ``None`` where there is none."""

    upload: Upload | None
    caller: Caller
    hook: Hook = field(default=Hook.AUTHORIZE, init=False)


#: What a gate may be asked.
HookRequest = HookEvent | AuthorizeEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResponse:
    """What a hook may answer; an empty answer lets things take their course.

    ``reject`` refuses a request (authorize), a creation (pre-create) or a termination (pre-terminate). ``stop``
    (post-receive) ends the running upload and terminates it. ``upload_id`` and ``metadata`` (pre-create) replace what
    the server or the client chose; metadata values are text or bytes. ``storage_path`` (pre-create) is where the bytes
    shall lie, relative to the directory of all uploads; stores other than disks pass over it. ``overlay`` is laid over
    the response; of authorize only where it rejects.
    """

    reject: bool = False
    stop: bool = False
    upload_id: str | None = None
    metadata: Mapping[str, str | bytes] | None = None
    storage_path: str | None = None
    override: ResponseOverride | None = None

    def applied_to(self, upload: Upload) -> Upload:
        """``upload`` as this answer of pre-create wants it."""
        if self.upload_id is not None:
            upload = replace(upload, id=self.upload_id)
        if self.metadata is not None:
            values = {key: value.encode() if isinstance(value, str) else value for key, value in self.metadata.items()}
            upload = replace(upload, metadata_header=format_metadata(values) or None)
        if self.storage_path is not None:
            upload = replace(upload, storage={**upload.storage, PATH: self.storage_path})
        return upload

    def merged_with(self, later: HookResponse) -> HookResponse:
        """Both answers as one; where they differ ``later`` counts. A refusal stands for itself."""
        if later.reject or later.stop:
            return later
        return HookResponse(
            upload_id=self.upload_id if later.upload_id is None else later.upload_id,
            metadata=self.metadata if later.metadata is None else later.metadata,
            storage_path=self.storage_path if later.storage_path is None else later.storage_path,
            override=later.override if self.override is None else self.override.merged_with(later.override),
        )


class HookHandler(Protocol):
    """Carries hooks to whoever wants them. Belongs to the event loop it is first used in."""

    def handles(self, hook: Hook) -> bool:
        """Whether anybody listens to ``hook``; asking nobody costs nothing."""
        ...

    async def invoke(self, event: HookRequest) -> HookResponse:
        """Ask the hook and wait for its answer, in bounded time. Raises ``HookFailed``."""
        ...

    async def close(self) -> None:
        """Let go of connections. Nothing is asked any more."""
        ...
