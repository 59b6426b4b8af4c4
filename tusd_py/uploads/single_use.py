"""Downloads by a link for a single use: one at a time, and none after the last byte was sent."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.links import Links
from tusd_py.model.caller import Caller
from tusd_py.model.links import Link, LinkState
from tusd_py.model.principal import Role
from tusd_py.protocol.access_errors import LinkEnded, LinkInUse
from tusd_py.protocol.outcomes import Content
from tusd_py.uploads.ports import Ports

#: The use of a process that was killed blocks the link for this long at most.
_CLAIMED = timedelta(seconds=120)
_RENEWED_AFTER = timedelta(seconds=30)
#: Requests for parts of the content may together send this many times its length: downloads are resumed, and a browser
#: asks for some bytes twice.
_TIMES_MAX = 2


async def link_for_single_use(ports: Ports, caller: Caller) -> Link | None:
    """The link, if the client is the bearer of one for a single use."""
    principal = caller.principal
    if principal is None or Role.DOWNLOAD_LINK not in principal.roles or ports.access_ports is None:
        return None
    links = ports.access_ports.links
    link = None if links is None else await links.find(principal.credential)
    return link if link is not None and link.is_single_use else None


async def use_once(ports: Ports, link: Link, length: int, start: int, stop: int) -> SingleUse:
    """Begin a use of ``link`` that sends the bytes from ``start`` to ``stop`` of ``length``.

    Raises ``LinkInUse`` or ``LinkEnded``.
    """
    assert ports.access_ports is not None and ports.access_ports.links is not None, "the link was found"
    use = SingleUse(ports, ports.access_ports.links, link.id, secrets.token_hex(8), length, start, stop)
    await use.claim()
    return use


@dataclass(slots=True)
class SingleUse:
    """One use of a link, from its claim to its release."""

    ports: Ports
    links: Links
    link_id: str
    name: str  # of the claim
    length: int
    start: int
    stop: int
    renew_at: datetime | None = None

    async def claim(self) -> None:
        """Claim the link, or claim it for longer."""
        now = self.ports.clock()
        sent_max = self.length * _TIMES_MAX - (self.stop - self.start)
        if await self.links.claim_use(self.link_id, self.name, now, now + _CLAIMED, sent_max):
            self.renew_at = now + _RENEWED_AFTER
            return
        link = await self.links.find(self.link_id)
        if link is not None and link.state(now) is LinkState.USED:
            raise LinkEnded("was for a single use, and was used")
        if link is not None and link.bytes_sent > sent_max:
            raise LinkEnded("was for a single use, and has sent most of what it may send")
        raise LinkInUse

    async def renew(self) -> None:
        """Claim the link for longer if that is due. Raises as ``claim``: then the download breaks off."""
        if self.renew_at is not None and self.ports.clock() >= self.renew_at:
            await self.claim()

    async def release(self, bytes_sent: int, *, is_whole: bool) -> None:
        """End the use. With the last byte of the content it was the only one."""
        bytes_max = 0 if is_whole and self.stop == self.length else self.length * _TIMES_MAX
        await self.links.release_use(self.link_id, self.name, bytes_sent, bytes_max, self.ports.clock())


class SingleUseContent:
    """A content that releases the use of its link when it is closed."""

    def __init__(self, content: Content, use: SingleUse) -> None:
        self._content = content
        self._use: SingleUse | None = use
        self._bytes_sent = 0
        self._is_whole = False

    def __aiter__(self) -> SingleUseContent:
        return self

    async def __anext__(self) -> bytes:
        # The piece before has been sent when the next one is asked for.
        assert self._use is not None, "read before it is closed"
        await self._use.renew()
        try:
            piece = await anext(self._content)
        except StopAsyncIteration:
            self._is_whole = True
            raise
        self._bytes_sent += len(piece)
        return piece

    async def aclose(self) -> None:
        use, self._use = self._use, None
        try:
            await self._content.aclose()
        finally:
            if use is not None:
                await finish_despite_cancel(use.release(self._bytes_sent, is_whole=self._is_whole))
