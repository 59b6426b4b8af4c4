"""Signs and verifies the tokens of accounts, links and codes, by HMAC-SHA256 with a key id.

A signed text is ``KEY-ID.PAYLOAD.SIGNATURE``, the last two in URL-safe base64. Each purpose has a key of its own,
derived from the secret, so that what was signed for one purpose is never accepted for another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence

#: Longer texts are refused unread.
SIGNED_BYTES_MAX = 4096
_BASE64 = re.compile(rb"[A-Za-z0-9_-]*")
_CONTEXT = b"tusd-py "


class SignatureInvalid(Exception):
    """The text was not signed by this server for this purpose, or its key is no longer in use."""


class TokenSigner:
    """Signs with the first of ``secrets``, each a key id and a secret, and verifies with all of them.

    To replace a secret, put the new one first, and remove the old one once nothing that it signed is needed any more.
    """

    def __init__(self, secrets: Sequence[tuple[str, bytes]]) -> None:
        self._secrets = dict(secrets)
        self._first = secrets[0][0]
        self._keys: dict[tuple[str, str], bytes] = {}

    def sign(self, purpose: str, payload: bytes) -> str:
        """``payload`` with its signature, as text that is safe in URLs, cookies and headers."""
        signature = self._signature(self._first, purpose, payload)
        return f"{self._first}.{_encode(payload)}.{_encode(signature)}"

    def verify(self, purpose: str, signed: bytes) -> bytes:
        """The payload of ``signed``. Raises ``SignatureInvalid``, which says nothing of why."""
        parts = signed.split(b".")
        if len(signed) > SIGNED_BYTES_MAX or len(parts) != 3:
            raise SignatureInvalid
        key_id, payload, signature = parts[0].decode("latin-1"), _decode(parts[1]), _decode(parts[2])
        # An unknown key id takes the time of a known one.
        is_known = key_id in self._secrets
        expected = self._signature(key_id if is_known else self._first, purpose, payload)
        if not hmac.compare_digest(expected, signature) or not is_known:
            raise SignatureInvalid
        return payload

    def digest(self, purpose: str, payload: bytes) -> bytes:
        """A keyed digest of ``payload``, the same in every process: for values that are compared and never decoded."""
        return self._signature(self._first, purpose, payload)

    def digests(self, purpose: str, payload: bytes) -> list[bytes]:
        """The ``digest`` of ``payload`` with each secret that is in use, the first one first."""
        return [self._signature(each, purpose, payload) for each in self._secrets]

    def is_digest(self, purpose: str, payload: bytes, digest: bytes) -> bool:
        """Whether ``digest`` was returned for ``payload``, by the first secret or by one that it has replaced."""
        found = [hmac.compare_digest(self._signature(each, purpose, payload), digest) for each in self._secrets]
        return any(found)

    def _signature(self, key_id: str, purpose: str, payload: bytes) -> bytes:
        key = self._keys.get((key_id, purpose))
        if key is None:
            # Purposes are constants of the program: there are only a few.
            key = hmac.digest(self._secrets[key_id], _CONTEXT + purpose.encode(), "sha256")
            self._keys[key_id, purpose] = key
        return hmac.digest(key, payload, "sha256")


def parse_secret(text: str) -> tuple[str, bytes]:
    """``ID:SECRET`` of the settings, which have checked it."""
    key_id, _, secret = text.partition(":")
    return key_id, secret.encode()


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(value: bytes) -> bytes:
    if not _BASE64.fullmatch(value):
        raise SignatureInvalid
    try:
        decoded = base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        raise SignatureInvalid from None
    # Base64 has several texts for some values: a changed text must not be accepted.
    if _encode(decoded).encode() != value:
        raise SignatureInvalid
    return decoded
