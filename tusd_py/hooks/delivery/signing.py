"""Signatures of Standard Webhooks, by which an endpoint verifies the sender and the time of a request."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"


def signature_headers(secrets: Sequence[str], event_id: str, at: datetime, body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of one attempt, with a signature for each of ``secrets``. ``at`` is the time of sending.

    While a key is replaced there are two secrets: an endpoint accepts a request if one of its signatures is valid.
    Without secrets there is no ``webhook-signature``.
    """
    timestamp = str(int(at.timestamp()))
    headers = [(b"webhook-id", event_id.encode()), (b"webhook-timestamp", timestamp.encode())]
    if secrets:
        signed = f"{event_id}.{timestamp}.".encode() + body
        headers.append((b"webhook-signature", " ".join(_signature(secret, signed) for secret in secrets).encode()))
    return headers


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(_PREFIX))
    return "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()
