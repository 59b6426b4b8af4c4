"""The body of a delivery: the event in our envelope, or in tusd's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tusd_py.contracts.webhooks import WebhookEndpoint
from tusd_py.hooks.delivery.payload import request_body
from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.upload import Upload

UPLOAD = Upload(id="u1", length=4, offset=4, created_at=EPOCH, updated_at=EPOCH, metadata_header="filename w6QucG5n")
CREDENTIALS = [(b"authorization", b"s1"), (b"proxy-authorization", b"s2"), (b"cookie", b"s3")]
CALLER = Caller(
    remote_address="10.0.0.1:5",
    method="PATCH",
    target="/files/u1",
    headers=[*CREDENTIALS, (b"x-who", b"me"), (b"host", b"h")],
)
EVENT = Event(id="e1", type=EventType.POST_FINISH, at=EPOCH, upload=UPLOAD, caller=CALLER)
STORAGE = {"Type": "filestore", "Path": "/d/u1"}


def endpoint(**more: Any) -> WebhookEndpoint:
    return WebhookEndpoint(name="library", types=frozenset(EventType), **more)


def body_of(**more: Any) -> Any:
    return json.loads(request_body(endpoint(**more), EVENT, STORAGE))


def test_the_envelope_has_event_upload_and_request() -> None:
    """Id, type and time of the event, the upload at that time, and the client."""
    envelope = body_of(body="envelope")
    assert ("e1", "post-finish") == (envelope["id"], envelope["type"])
    assert envelope["at"].startswith("2026-01-01T00:00:00")
    assert ("u1", 4, {"filename": "ä.png"}) == tuple(envelope["upload"][key] for key in ("id", "offset", "metadata"))
    assert envelope["request"] == {"method": "PATCH", "target": "/files/u1", "remote_address": "10.0.0.1:5"}


def test_the_envelope_has_neither_headers_nor_storage() -> None:
    """Headers may hold credentials, and paths on the server are not for endpoints."""
    text = request_body(endpoint(body="envelope"), EVENT, STORAGE)
    assert not [secret for secret in (b"s1", b"s2", b"s3", b"/d/u1", b"x-who") if secret in text]


def test_the_envelope_is_compact_json() -> None:
    """UTF-8 without spaces, and the same bytes for every attempt, since they are signed."""
    text = request_body(endpoint(body="envelope"), EVENT, STORAGE)
    assert "ä.png".encode() in text
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    assert text == request_body(endpoint(body="envelope"), EVENT, STORAGE)


def test_request_is_null_without_a_request() -> None:
    """An upload that expired, for example."""
    expired = Event(id="e2", type=EventType.UPLOAD_EXPIRED, at=EPOCH, upload=UPLOAD)
    assert json.loads(request_body(endpoint(body="envelope"), expired, None))["request"] is None


@pytest.mark.parametrize("is_tusd_hook", [True, False])
def test_forwarded_headers_are_in_the_json_of_tusd_hooks_only(is_tusd_hook: bool) -> None:
    """A webhook with ``body = "tusd"`` gets the headers that every event keeps, and the storage."""
    body = body_of(body="tusd", is_tusd_hook=is_tusd_hook)
    assert ("post-finish", STORAGE) == (body["Type"], body["Event"]["Upload"]["Storage"])
    names = {"Authorization", "Proxy-Authorization", "Cookie", "X-Who"} if is_tusd_hook else set()
    assert {"Host"} | names == set(body["Event"]["HTTPRequest"]["Header"])
    assert CALLER.headers[:3] == CREDENTIALS, "the event itself is left as it is"
