"""The contract of blocking hooks: a request waits for their response, which may refuse or change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

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
    """The input of a hook: which hook it is, the current upload, and the client of the request.

    ``caller`` is ``None`` if no request caused it (a restart, a background task).
    """

    hook: Hook
    upload: Upload
    caller: Caller | None


@dataclass(frozen=True, slots=True)
class AuthorizeEvent:
    """The input of ``authorize``: the client of the request, and the recorded upload; ``None`` if there is none."""

    upload: Upload | None
    caller: Caller
    hook: Hook = field(default=Hook.AUTHORIZE, init=False)


#: The input of a hook handler.
HookRequest = HookEvent | AuthorizeEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResponse:
    """The response of a hook; an empty one changes nothing.

    ``reject`` refuses a request (authorize), a creation (pre-create) or a termination (pre-terminate). ``stop``
    (post-receive) aborts the running upload and terminates it. ``upload_id`` and ``metadata`` (pre-create) replace
    those of the server and the client; metadata values are text or bytes. ``storage_path`` (pre-create) is the path for
    the bytes, relative to the directory of all uploads; only stores on disk use it. ``owner`` (pre-create) is the owner
    of the upload, for validation rules, published names and concatenation. ``moved_to`` (post-finish) says that the
    hook has moved the bytes, and where to: the path is only recorded. ``override`` changes the HTTP response; that of
    authorize is used only with ``reject``.
    """

    reject: bool = False
    stop: bool = False
    upload_id: str | None = None
    metadata: Mapping[str, str | bytes] | None = None
    storage_path: str | None = None
    owner: str | None = None
    moved_to: str | None = None
    override: ResponseOverride | None = None

    def applied_to(self, upload: Upload) -> Upload:
        """``upload`` with the id, metadata and path of this pre-create response."""
        if self.upload_id is not None:
            upload = replace(upload, id=self.upload_id)
        if self.metadata is not None:
            values = {key: value.encode() if isinstance(value, str) else value for key, value in self.metadata.items()}
            upload = replace(upload, metadata_header=format_metadata(values) or None)
        if self.storage_path is not None:
            upload = replace(upload, storage={**upload.storage, PATH: self.storage_path})
        if self.owner is not None:
            upload = replace(upload, owner=self.owner)
        return upload

    def merged_with(self, later: HookResponse) -> HookResponse:
        """Both responses combined; ``later`` takes precedence. If ``later`` rejects or stops, it is returned alone."""
        if later.reject or later.stop:
            return later
        return HookResponse(
            upload_id=self.upload_id if later.upload_id is None else later.upload_id,
            metadata=self.metadata if later.metadata is None else later.metadata,
            storage_path=self.storage_path if later.storage_path is None else later.storage_path,
            owner=self.owner if later.owner is None else later.owner,
            moved_to=self.moved_to if later.moved_to is None else later.moved_to,
            override=later.override if self.override is None else self.override.merged_with(later.override),
        )


#: What a function of an application may return.
HookReturn = HookResponse | Awaitable[HookResponse | None] | None
#: A hook of an application that mounts the server: a function or coroutine function of the event.
HookFunction = Callable[[HookEvent], HookReturn]
AuthorizeFunction = Callable[[AuthorizeEvent], HookReturn]
#: By hook; each function takes the event of that hook.
HookFunctions = Mapping[Hook, Callable[[Any], HookReturn]]


class HookHandler(Protocol):
    """Invokes hooks. Belongs to the event loop that first uses it."""

    def handles(self, hook: Hook) -> bool:
        """Whether ``hook`` is configured; callers skip ``invoke`` otherwise."""
        ...

    async def invoke(self, event: HookRequest) -> HookResponse:
        """Invoke the hook and wait for its response, in bounded time. Raises ``HookFailed``."""
        ...

    async def close(self) -> None:
        """Close connections. ``invoke`` must not be called after this."""
        ...
