"""Signatures of webhooks, verified with the reference library of Standard Webhooks."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tusd_py.hooks.delivery.signing import signature_headers

BODY = '{"filename":"ä b"}'
SECRETS = ("whsec_" + "A" * 32, "whsec_" + "B" * 32)


def signed(*secrets: str, at: datetime | None = None, body: str = BODY) -> dict[str, str]:
    """The headers of an event sent at ``at``, by default now, since the library refuses old requests."""
    headers = signature_headers(secrets, "e1", at or datetime.now(UTC), body.encode())
    return {name.decode(): value.decode() for name, value in headers}


def test_headers_follow_the_specification() -> None:
    """The library makes the same signature of the same bytes."""
    at = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)
    assert signed(SECRETS[0], at=at) == {
        "webhook-id": "e1",
        "webhook-timestamp": "1767323045",
        "webhook-signature": Webhook(SECRETS[0]).sign("e1", at.replace(microsecond=0), BODY),
    }


def test_each_of_several_keys_verifies() -> None:
    """While a key is replaced, an endpoint may have the old or the new one; there is a signature for each, in order."""
    headers = signed(*SECRETS)
    assert 2 == len(headers["webhook-signature"].split(" "))
    for secret, signature in zip(SECRETS, headers["webhook-signature"].split(" "), strict=True):
        assert Webhook(secret).verify(BODY, headers) == {"filename": "ä b"}
        assert signature == signed(secret, at=_time_of(headers))["webhook-signature"]


@pytest.mark.parametrize("key", [bytes(24), bytes(range(64)), b"\xff" * 24, b"\xfb\xef\xbe" * 8, b"x" * 25, b"y" * 26])
def test_any_bytes_are_a_key(key: bytes) -> None:
    """Shortest and longest, with + and / in base64, and with one and two characters of padding."""
    secret = "whsec_" + b64encode(key).decode()
    assert Webhook(secret).verify(BODY, signed(secret)) == {"filename": "ä b"}


def test_no_signature_without_a_key() -> None:
    """The id of the event and the time of sending are there all the same."""
    assert {"webhook-id", "webhook-timestamp"} == set(signed())


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body", "key"])
def test_changes_are_detected(changed: str) -> None:
    """Body, id and time are signed, and another key does not verify them."""
    headers = signed(SECRETS[0])
    if changed == "webhook-timestamp":
        headers[changed] = str(int(headers[changed]) - 1)
    elif changed in headers:
        headers[changed] += "x"
    reader = Webhook(SECRETS[1] if changed == "key" else SECRETS[0])
    with pytest.raises(WebhookVerificationError):
        reader.verify(BODY + " " if changed == "body" else BODY, headers)


def test_a_replay_is_refused() -> None:
    """The timestamp is that of sending: the library refuses a request that is repeated an hour later."""
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(BODY, signed(SECRETS[0], at=datetime.now(UTC) - timedelta(hours=1)))


def _time_of(headers: dict[str, str]) -> datetime:
    return datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
