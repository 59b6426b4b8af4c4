"""The first bytes of an upload, gathered on their way in and judged before the rest is taken."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing

from tusd_py.contracts.validator import TypeSniffer, ValidatorUnavailable
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.errors import TypeNotAllowed
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)

#: So many bytes tell the type of nearly everything.
HEAD_BYTES = 4096


def sniffer_for(ports: Ports, upload: Upload) -> Sniffer | None:
    """Who looks at the next bytes of ``upload``; None where nobody has to."""
    if ports.sniffer is None or upload.offset >= HEAD_BYTES or upload.kind is not Kind.REGULAR:
        return None
    return Sniffer(ports, ports.sniffer, upload) if ports.sniffer.applies_to(upload) else None


class Sniffer:
    """Sees the pieces of one body in order. While ``is_open`` it has not seen enough."""

    def __init__(self, ports: Ports, glance: TypeSniffer, upload: Upload) -> None:
        self.is_open = True
        self._ports = ports
        self._glance = glance
        self._upload = upload
        self._head = bytearray()
        self._seen = upload.offset

    async def see(self, pieces: Sequence[bytes]) -> None:
        """The next pieces. Raises ``TypeNotAllowed`` as soon as they tell that."""
        if not self.is_open:
            return
        for piece in pieces:
            self._head += piece[: HEAD_BYTES - self._seen]
            self._seen = min(HEAD_BYTES, self._seen + len(piece))
        if self._seen == HEAD_BYTES:
            await self.judge()

    async def judge(self) -> None:
        """No more is needed, or none will come. Raises ``TypeNotAllowed`` or ``StoreError``."""
        if not self.is_open:
            return
        self.is_open = False
        reason = ""
        try:
            reason = await self._glance.rejection(self._upload, await self._earlier() + bytes(self._head))
        except ValidatorUnavailable as trouble:
            # Not the client's fault, and not the last word either: whoever examines the whole will see.
            log.warning("the first bytes of upload %s could not be judged: %s", self._upload.id, trouble)
        if reason:
            raise TypeNotAllowed(reason)

    async def _earlier(self) -> bytes:
        """The bytes that came with earlier requests."""
        if not self._upload.offset:
            return b""
        async with aclosing(self._ports.store.read(self._upload, 0, self._upload.offset)) as content:
            return b"".join([piece async for piece in content])
