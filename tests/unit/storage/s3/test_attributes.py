"""The attributes of objects: what S3 is asked to keep beside the bytes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import parse_qs

import pytest

from tusd_py.model.upload import Upload
from tusd_py.publishing.names import published_name
from tusd_py.storage.s3.attributes import ObjectAttributes

AT = datetime(2026, 11, 29, tzinfo=UTC)


def an_upload(name: str = "", media_type: str = "", owner: str = "") -> Upload:
    values = {"filename": name, "filetype": media_type}
    header = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items() if value)
    return Upload(id="an-id", length=1, created_at=AT, updated_at=AT, owner=owner, metadata_header=header or None)


def test_nothing_is_asked_for_by_default() -> None:
    """A service that knows none of it gets no header of it."""
    assert ({}, {}) == (ObjectAttributes().of_object(an_upload()), ObjectAttributes().of_bytes())


def test_tails_are_encrypted_too() -> None:
    """They are bytes of clients; they have neither the class nor the tags of complete uploads."""
    attributes = ObjectAttributes(
        storage_class="STANDARD_IA", tags={"a": "b"}, encryption="aws:kms", kms_key_id="arn:k", bucket_key=True
    )
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:k", "BucketKeyEnabled": True}
    assert encrypted == attributes.of_bytes()
    assert {**encrypted, "StorageClass": "STANDARD_IA", "Tagging": "a=b"} == attributes.of_object(an_upload())


def test_tags_by_patterns() -> None:
    """Values are made for each upload; what S3 refuses in a value is replaced, and they are cut to what it takes."""
    attributes = ObjectAttributes(
        tags={"owner": "{owner}", "day": "{yyyy}/{mm}", "name": "{filename}"}, expand=published_name
    )
    asked = attributes.of_object(an_upload(name="ü&=#.txt" + "x" * 300, owner="alice"))["Tagging"]
    found = {key: value for key, [value] in parse_qs(asked, strict_parsing=True).items()}
    assert {"owner": "alice", "day": "2026/11"} == {key: found[key] for key in ("owner", "day")}
    assert found["name"].startswith("ü_=_.txt")
    assert len(found["name"]) <= 256


@pytest.mark.parametrize(
    ("mode", "declared", "expected"),
    [
        ("download", "text/plain", "text/plain; charset=utf-8"),
        ("download", "text/html", "application/octet-stream"),
        ("client", "text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("client", "Image/PNG", "image/png"),
        ("client", "no\r\nx: y", "application/octet-stream"),
        ("client", "", "application/octet-stream"),
    ],
)
def test_content_type(mode: Literal["download", "client"], declared: str, expected: str) -> None:
    """The type of a download through the server, or what the client declares if that is valid."""
    attributes = ObjectAttributes(content_type=mode, inline_types={"text/plain"})
    assert {"ContentType": expected} == attributes.of_object(an_upload(media_type=declared))


def test_content_disposition() -> None:
    """The name that the client declares, in ASCII, and in UTF-8 beside it."""
    asked = ObjectAttributes(content_disposition=True, cache_control="max-age=60").of_object(an_upload(name='ä".txt'))
    assert "max-age=60" == asked["CacheControl"]
    assert "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%A4%22.txt" == asked["ContentDisposition"]
