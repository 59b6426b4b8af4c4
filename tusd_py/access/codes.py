"""Access codes: making them, redeeming them for short-lived tokens, and from a token to a principal."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.signing import SignatureInvalid, TokenSigner
from tusd_py.contracts.codes import AccessCodes
from tusd_py.model.audit import AuditEntry
from tusd_py.model.codes import ALPHABET, CODE_CHARACTERS, AccessCode, CodeState, Redemption, normalize
from tusd_py.model.principal import Principal, Role
from tusd_py.protocol.access_errors import CodeEnded

#: The prefix of the token of a redeemed code.
CODE_PREFIX = b"tusd_code_"
_PURPOSE = "access code token"
_DIGEST = "access code"
#: A token that has expired can be renewed, and read the offset of an upload, for this long.
RENEWAL = timedelta(minutes=15)
_ATTEMPTS_MAX = 20


@dataclass(frozen=True, slots=True)
class CodeToken:
    """A token and its end."""

    text: str
    expires_at: datetime


async def create_code(
    codes: AccessCodes, signer: TokenSigner, code: AccessCode, audit: Sequence[AuditEntry] = ()
) -> str:
    """Keep ``code`` under new random characters, and return these: they are shown once and kept nowhere."""
    for _ in range(_ATTEMPTS_MAX):
        text = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))
        if await codes.add(code, signer.digest(_DIGEST, text.encode()).hex(), audit):
            return text
    raise AssertionError("of 900 million codes twenty random ones were taken")


async def redeem(codes: AccessCodes, signer: TokenSigner, entry: str, address: str, now: datetime) -> Redemption:
    """The active code that a person has entered as ``entry`` at ``address``."""
    text = normalize(entry)
    # What cannot be a code counts as a wrong guess too: it must not tell what codes look like.
    digests = [each.hex() for each in signer.digests(_DIGEST, text.encode())] if text else []
    return await codes.redeem(digests, address, now)


def code_token(signer: TokenSigner, code: AccessCode, now: datetime, seconds: float) -> CodeToken:
    """A token of the bearer of ``code``, valid for ``seconds`` but no longer than the code."""
    expires_at = min(now + timedelta(seconds=seconds), code.expires_at)
    payload = json.dumps([code.id, round(expires_at.timestamp())]).encode()
    return CodeToken(CODE_PREFIX.decode() + signer.sign(_PURPOSE, payload), expires_at)


class CodeVerifier:
    """Turns the token of a redeemed code into the principal of its bearer, and knows of terminated codes."""

    def __init__(self, codes: AccessCodes, signer: TokenSigner, clock: Callable[[], datetime]) -> None:
        self._codes = codes
        self._signer = signer
        self._clock = clock

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        """The bearer of the code. Raises ``TokenInvalid`` or ``TokenExpired``, or ``CodeEnded``."""
        code_id, expires_at = _parse(self._signer, token)
        now = self._clock()
        code = await self._codes.find(code_id)
        if code is None or code.state(now) is not CodeState.ACTIVE:
            raise CodeEnded
        late_seconds = now.timestamp() - expires_at
        is_expired = late_seconds >= 0
        if is_expired and not (allow_expired and late_seconds < RENEWAL.total_seconds()):
            raise TokenExpired("the token has expired")
        return replace(_bearer(code), is_expired=is_expired)

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. A code may end at any time, so each request looks at it."""
        return None

    async def is_valid(self, credential: str) -> bool:
        return await self.refusal(credential) is None

    async def refusal(self, credential: str) -> CodeEnded | None:
        """The error for the bearer of a running request, if the code was terminated meanwhile."""
        code = await self._codes.find(credential)
        return CodeEnded() if code is None or code.terminated_at is not None else None


def _parse(signer: TokenSigner, token: bytes) -> tuple[str, int]:
    try:
        payload: Any = json.loads(signer.verify(_PURPOSE, token.removeprefix(CODE_PREFIX)))
    except SignatureInvalid:
        raise TokenInvalid("the token is not valid") from None
    return str(payload[0]), int(payload[1])


def _bearer(code: AccessCode) -> Principal:
    return Principal(
        subject=code.owner,
        roles=frozenset({Role.CODE}),
        method="code",
        credential=code.id,
        grant=code.grant,
    )
