"""The body of a webhook: the event in its envelope, or in tusd's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tusd_py.hooks.delivery.endpoints import WebhookEndpoint
from tusd_py.hooks.delivery.payload import request_body
from tusd_py.model.caller import Caller
from tusd_py.model.events import Event, EventType
from tusd_py.model.upload import Upload

UPLOAD = Upload(id="u1", length=4, offset=4, created_at=EPOCH, updated_at=EPOCH, metadata_header="filename w6QucG5n")
CREDENTIALS = [(b"authorization", b"s1"), (b"proxy-authorization", b"s2"), (b"cookie", b"s3")]
CALLER = Caller(
    remote_address="10.0.0.1:5", method="PATCH", target="/files/u1", headers=[*CREDENTIALS, (b"x-who", b"me")]
)
EVENT = Event(id="e1", type=EventType.POST_FINISH, at=EPOCH, upload=UPLOAD, caller=CALLER)
STORAGE = {"Type": "filestore", "Path": "/d/u1"}


def receiver(**more: Any) -> WebhookEndpoint:
    return WebhookEndpoint(name="library", types=frozenset(EventType), **more)


def told(**more: Any) -> Any:
    return json.loads(request_body(receiver(**more), EVENT, STORAGE))


def test_the_envelope_names_the_event_the_upload_and_the_request() -> None:
    """Id, type and time of the event, the upload as it was then, and who asked."""
    envelope = told(body="envelope")
    assert ("e1", "post-finish") == (envelope["id"], envelope["type"])
    assert envelope["at"].startswith("2026-01-01T00:00:00")
    assert ("u1", 4, {"filename": "ä.png"}) == tuple(envelope["upload"][key] for key in ("id", "offset", "metadata"))
    assert envelope["request"] == {"method": "PATCH", "target": "/files/u1", "remote_address": "10.0.0.1:5"}


def test_the_envelope_tells_neither_headers_nor_storage() -> None:
    """They may hold what lets people in, and where things lie is nobody's business."""
    text = request_body(receiver(body="envelope"), EVENT, STORAGE)
    assert not [secret for secret in (b"s1", b"s2", b"s3", b"/d/u1", b"x-who") if secret in text]


def test_the_envelope_is_compact_text() -> None:
    """UTF-8 as it is, without spaces: the same bytes for every attempt, for they are signed."""
    text = request_body(receiver(body="envelope"), EVENT, STORAGE)
    assert "ä.png".encode() in text
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    assert text == request_body(receiver(body="envelope"), EVENT, STORAGE)


def test_what_no_request_brought_about_has_none() -> None:
    """An upload that expires was not asked to."""
    expired = Event(id="e2", type=EventType.UPLOAD_EXPIRED, at=EPOCH, upload=UPLOAD)
    assert json.loads(request_body(receiver(body="envelope"), expired, None))["request"] is None


@pytest.mark.parametrize("is_tusd_hook", [True, False])
def test_tusds_json_has_credentials_for_tusds_receivers_only(is_tusd_hook: bool) -> None:
    """An endpoint that likes tusd's JSON is told all other headers, and where the bytes lie."""
    body = told(body="tusd", is_tusd_hook=is_tusd_hook)
    assert ("post-finish", STORAGE) == (body["Type"], body["Event"]["Upload"]["Storage"])
    names = {"Authorization", "Proxy-Authorization", "Cookie"} if is_tusd_hook else set()
    assert {"X-Who"} | names == set(body["Event"]["HTTPRequest"]["Header"])
    assert CALLER.headers == [*CREDENTIALS, (b"x-who", b"me")], "the event itself is left as it is"
