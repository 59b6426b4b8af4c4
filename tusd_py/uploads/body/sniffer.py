"""Checks the type of an upload by its first bytes, before the rest is received."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing

from tusd_py.contracts.validator import TypeSniffer, ValidatorUnavailable
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.errors import TypeNotAllowed
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)

#: This many bytes identify nearly every type.
HEAD_BYTES = 4096


def sniffer_for(ports: Ports, upload: Upload) -> Sniffer | None:
    """Return a sniffer for the next bytes of ``upload``, or None if they need no check."""
    if ports.sniffer is None or upload.offset >= HEAD_BYTES or upload.kind is not Kind.REGULAR:
        return None
    return Sniffer(ports, ports.sniffer, upload) if ports.sniffer.applies_to(upload) else None


class Sniffer:
    """Collects the first bytes of an upload from the pieces of one body, and has their type checked."""

    def __init__(self, ports: Ports, type_sniffer: TypeSniffer, upload: Upload) -> None:
        #: Whether the check is still to be made.
        self.needs_more = True
        self._ports = ports
        self._type_sniffer = type_sniffer
        self._upload = upload
        self._head = bytearray()  # what this body adds to the upload's first bytes
        self._seen = upload.offset

    async def feed(self, pieces: Sequence[bytes]) -> None:
        """Take the next pieces; check the type as soon as there are enough. Raises like ``check``."""
        if not self.needs_more:
            return
        for piece in pieces:
            self._head += piece[: HEAD_BYTES - self._seen]
            self._seen = min(HEAD_BYTES, self._seen + len(piece))
        if self._seen == HEAD_BYTES:
            await self.check()

    async def check(self) -> None:
        """Check the type by the bytes there are. Does nothing the second time.

        Raises ``TypeNotAllowed``, or ``StoreError`` if bytes of earlier requests cannot be read.
        """
        if not self.needs_more:
            return
        self.needs_more = False
        reason = ""
        try:
            reason = await self._type_sniffer.rejection(self._upload, await self._stored_head() + bytes(self._head))
        except ValidatorUnavailable as error:
            # No fault of the client, and not the final check: validation sees the complete upload later.
            log.warning("cannot check the type of upload %s by its first bytes: %s", self._upload.id, error)
        if reason:
            raise TypeNotAllowed(reason)

    async def _stored_head(self) -> bytes:
        """The bytes that earlier requests stored."""
        if not self._upload.offset:
            return b""
        async with aclosing(self._ports.store.read(self._upload, 0, self._upload.offset)) as content:
            return b"".join([piece async for piece in content])
