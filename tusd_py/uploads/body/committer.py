"""Saves the record of an upload while a request changes it, with the progress events and reports of each save."""

from __future__ import annotations

from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import CredentialsRevoked
from tusd_py.uploads.body.progress import ProgressReporter
from tusd_py.uploads.commit import Cause, insert, update
from tusd_py.uploads.grant_check import ensure_grant
from tusd_py.uploads.hook_calls import invoke_later
from tusd_py.uploads.ports import Ports


class Committer:
    """Saves the states of one upload on behalf of one request.

    With ``is_recorded=False`` the first save inserts the record and invokes post-create: an upload that is created
    with its bytes costs one write, not two. ``progress`` decides which saves emit post-receive, and reports each save
    to the hook and to the client; without it saves are silent.
    """

    def __init__(
        self, ports: Ports, caller: Caller, progress: ProgressReporter | None = None, *, is_recorded: bool = True
    ) -> None:
        self.is_recorded = is_recorded
        self._ports = ports
        self._caller = caller
        self._progress = progress

    @property
    def reports_progress(self) -> bool:
        """Whether saves are reported to a hook, or are events of the operator."""
        return self._progress is not None and self._progress.has_receiver

    async def commit(self, before: Upload, after: Upload, *, is_last: bool) -> Upload:
        """Save ``after`` over ``before``, report it, and return it with its new token.

        ``is_last`` marks the last save of a body. Raises ``RecordConflict`` or, for the first save of a new upload,
        ``RecordExists``.
        """
        progress = self._progress
        cause = Cause(self._caller) if progress is None else progress.cause(before, after, is_last=is_last)
        if self.is_recorded:
            saved = await update(self._ports, before, after, cause)
        else:
            await self._insert(after, cause)
            saved = after
        if progress is not None:
            progress.on_saved(saved)
        return saved

    async def ensure_permitted(self) -> None:
        """Raise ``LinkEnded`` or ``CodeEnded`` if the link or the code of the client has been ended meanwhile."""
        await ensure_grant(self._ports, self._caller)

    async def ensure_not_revoked(self) -> None:
        """Look at the credentials of the request once more, before the upload completes.

        Their expiry does not matter. Raises ``CredentialsRevoked``, ``LinkEnded`` or ``CodeEnded``.
        """
        access, principal = self._ports.access_ports, self._caller.principal
        if principal is not None and principal.grant:
            await self.ensure_permitted()
            return
        check = None if access is None or principal is None else access.checks.get(principal.method)
        if check is not None and principal is not None and not await check.is_valid(principal.credential):
            raise CredentialsRevoked

    async def insert(self, upload: Upload) -> None:
        """Record a new upload outside of the saves of its body: no progress is reported. Raises ``RecordExists``."""
        await self._insert(upload, Cause(self._caller))

    async def _insert(self, upload: Upload, cause: Cause) -> None:
        await insert(self._ports, upload, cause)
        self.is_recorded = True
        invoke_later(self._ports, Hook.POST_CREATE, upload, self._caller)
