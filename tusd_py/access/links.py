"""The signed part of a link's URL, and from it to a principal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tusd_py.access.errors import TokenInvalid
from tusd_py.access.signing import SignatureInvalid, TokenSigner
from tusd_py.contracts.links import Links
from tusd_py.model.links import Link, LinkKind, LinkState
from tusd_py.model.principal import NO_LIMITS, Principal, PrincipalLimits, Role, Verb
from tusd_py.protocol.access_errors import LinkEnded

#: The prefix of the token of a link; the URL leaves it out.
LINK_PREFIX = b"tusd_link_"
#: The parameter of the URL of an upload that makes it a link.
LINK_PARAMETER = "link"
_PURPOSE = "link"
_ENDS = {
    LinkState.EXPIRED: "has expired",
    LinkState.REVOKED: "was revoked",
    LinkState.USED: "was for a single use, and was used",
}
_FILL = frozenset({Verb.APPEND, Verb.INSPECT})


def link_query(signer: TokenSigner, link: Link) -> str:
    """The query that the URL of the upload needs to be this link."""
    return f"{LINK_PARAMETER}={signer.sign(_PURPOSE, link.id.encode())}"


def link_refusal(link: Link | None, now: datetime, *, ignores_time: bool = False) -> LinkEnded | None:
    """The error for the bearer of a link that has ended; ``ignores_time`` is for requests that run at its expiry."""
    state = LinkState.REVOKED if link is None else link.state(now)
    if state is LinkState.ACTIVE or (ignores_time and state is LinkState.EXPIRED):
        return None
    return LinkEnded(_ENDS[state])


class LinkVerifier:
    """Turns the signed part of a link into the principal of its bearer, and knows of revoked links."""

    def __init__(self, links: Links, signer: TokenSigner, clock: Callable[[], datetime]) -> None:
        self._links = links
        self._signer = signer
        self._clock = clock

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The bearer of the link. Raises ``TokenInvalid`` if it is not genuine, ``LinkEnded`` if it has ended."""
        try:
            link_id = self._signer.verify(_PURPOSE, token.removeprefix(LINK_PREFIX)).decode()
        except SignatureInvalid:
            raise TokenInvalid("the link is not valid") from None
        link = await self._links.find(link_id)
        refusal = link_refusal(link, self._clock())
        if refusal is not None:
            raise refusal
        assert link is not None
        return _bearer(link)

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. A link may end at any time, so each request looks at it."""
        return None

    async def is_valid(self, credential: str) -> bool:
        return await self.refusal(credential) is None

    async def refusal(self, credential: str) -> LinkEnded | None:
        """The error for the bearer of a running request, if the link was revoked meanwhile."""
        return link_refusal(await self._links.find(credential), self._clock(), ignores_time=True)


def _bearer(link: Link) -> Principal:
    is_upload = link.kind is LinkKind.UPLOAD
    return Principal(
        subject=link.owner,
        roles=frozenset({Role.UPLOAD_LINK if is_upload else Role.DOWNLOAD_LINK}),
        method="link",
        credential=link.id,
        verbs=_FILL if is_upload and not link.may_download else None,
        grant=link.grant,
        upload_id=link.upload_id,
        origins=link.origins,
        limits=PrincipalLimits(types=link.types) if link.types else NO_LIMITS,
    )
