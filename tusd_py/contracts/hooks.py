"""The contract of blocking hooks: a request waits for their response, which may refuse or change it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tusd_py.contracts.store import PATH, Store
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import format_metadata, parse_metadata
from tusd_py.protocol.outcomes import Content, ResponseOverride


class HookFailed(Exception):
    """A hook failed or took too long. Its text is for the log, never for the client."""


@dataclass(frozen=True, slots=True)
class HookEvent:
    """The input of a hook: which hook it is, the current upload, and the client of the request.

    ``caller`` is ``None`` if no request caused it (a restart, a background task). In functions of an application
    ``upload.storage`` says where the bytes are, with tusd's names (``Type``, ``Path``).
    """

    hook: Hook
    upload: Upload
    caller: Caller | None
    store: Store | None = field(default=None, repr=False, compare=False)  # only for functions of an application

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata decoded as text. A value that is not UTF-8 has U+FFFD in the place of the bytes that are not."""
        return _metadata(self.upload)

    @property
    def filename(self) -> str:
        """The name that the client gave the file (``filename``, else ``name``); empty if it gave none.

        It is any text: do not use it as a path.
        """
        return self.metadata.get("filename") or self.metadata.get("name") or ""

    @property
    def path(self) -> str | None:
        """The path of the file with the bytes; ``None`` if the store has no files. Before post-finish it may grow."""
        path = None if self.store is None else self.store.location(self.upload).get("Path")
        return path or None

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """The ASGI scope of the request, with what middleware left in it: ``scope["user"]``, ``scope["state"]``."""
        return None if self.caller is None else self.caller.scope

    async def open(self) -> StoredFile:
        """Open the stored bytes for reading, wherever they are: ``async with await event.open() as file``."""
        if self.store is None:
            raise RuntimeError("only hooks of an application can open the bytes of an upload")
        return StoredFile(self.store.read(self.upload, 0, self.upload.offset))


class StoredFile:
    """The bytes of an upload, to be read once, in pieces: ``await file.read(n)`` or ``async for piece in file``."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._rest = b""

    async def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end; all that are left if ``size`` is negative."""
        pieces = [self._rest]
        found = len(self._rest)
        while size < 0 or found < size:
            try:
                piece = bytes(await self._content.__anext__())
            except StopAsyncIteration:
                break
            pieces.append(piece)
            found += len(piece)
        joined = b"".join(pieces)
        end = found if size < 0 else size
        self._rest = joined[end:]
        return joined[:end]

    async def close(self) -> None:
        """Stop reading."""
        await self._content.aclose()

    def __aiter__(self) -> StoredFile:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return bytes(await self._content.__anext__())

    async def __aenter__(self) -> StoredFile:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _metadata(upload: Upload) -> dict[str, str]:
    try:
        values = parse_metadata(upload.metadata_header)
    except InvalidMetadata:  # of an imported record
        return {}
    return {key: value.decode("utf-8", "replace") for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class AuthorizeEvent:
    """The input of ``authorize``: the client of the request, and the recorded upload; ``None`` if there is none."""

    upload: Upload | None
    caller: Caller
    hook: Hook = field(default=Hook.AUTHORIZE, init=False)

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """The ASGI scope of the request, with what middleware left in it: ``scope["user"]``, ``scope["state"]``."""
        return self.caller.scope


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

    def handles_partial(self, hook: Hook) -> bool:
        """Whether ``hook`` is invoked for partial uploads too, where it is about the end of an upload (pre-finish)."""
        ...

    async def invoke(self, event: HookRequest) -> HookResponse:
        """Invoke the hook and wait for its response, in bounded time. Raises ``HookFailed``."""
        ...

    async def close(self) -> None:
        """Close connections. ``invoke`` must not be called after this."""
        ...
