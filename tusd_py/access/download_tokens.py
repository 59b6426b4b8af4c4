"""Short-lived tokens for one download, with which a client is sent to the separate origin of downloads.

Its cookies do not count there, so the token carries the decision that was made at the origin of the server.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.signing import SignatureInvalid, TokenSigner
from tusd_py.model.principal import Principal, Role

PREFIX = b"tusd_dl_"
#: The parameter of the URL that has the token.
PARAMETER = "download"
#: How long a download can begin, or be resumed by its client.
SECONDS = 600
_PURPOSE = "download"


def download_query(signer: TokenSigner, upload_id: str, now: datetime) -> str:
    """The query with which any client can download this upload for ``SECONDS``."""
    expires_at = int((now + timedelta(seconds=SECONDS)).timestamp())
    return f"{PARAMETER}={signer.sign(_PURPOSE, f'{upload_id} {expires_at}'.encode())}"


class DownloadTokenVerifier:
    """Turns such a token into a principal that may read this upload only."""

    def __init__(self, signer: TokenSigner, clock: Callable[[], datetime]) -> None:
        self._signer = signer
        self._clock = clock

    async def verify(self, token: bytes, *, allow_expired: bool = False) -> Principal:
        try:
            payload = self._signer.verify(_PURPOSE, token.removeprefix(PREFIX)).decode()
        except SignatureInvalid:
            raise TokenInvalid("the token of the download is not valid") from None
        upload_id, _, expires_at = payload.rpartition(" ")
        if self._clock().timestamp() >= int(expires_at):
            raise TokenExpired("the token of the download has expired")
        return Principal(
            subject=f"download {upload_id}",
            roles=frozenset({Role.DOWNLOAD_LINK}),
            method="download",
            grant=f"download {upload_id}",
            upload_id=upload_id,
        )

    def recall(self, token: bytes) -> Principal | None:
        """See ``TokenVerifier.recall``. It is for one download, so none is remembered."""
        return None
