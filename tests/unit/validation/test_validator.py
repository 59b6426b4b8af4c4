"""What the credentials of a creation allow is checked beside the operator's rules, by the real type."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from tusd_py.model.upload import ALLOWED_TYPES, HistoryEntry, Kind, Status, Upload
from tusd_py.validation.validator import RuleValidator

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\6\0\0\0\x1f\x15\xc4\x89"


def upload_of(allowed: str) -> Upload:
    return Upload(
        id="u",
        kind=Kind.REGULAR,
        length=4,
        metadata_header=f"filetype {base64.b64encode(b'image/png').decode()}",
        concat_header=None,
        parts=(),
        owner="alice",
        created_at=NOW,
        updated_at=NOW,
        history=(HistoryEntry(Status.UPLOADING, NOW, details={ALLOWED_TYPES: allowed}),),
    )


async def content_of(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


async def ignore(_: int) -> None:
    pass


@pytest.mark.parametrize(
    ("allowed", "content", "is_accepted"),
    [("image/*", PNG, True), ("image/*", b"plain text", False), ("", PNG, False), ("text/plain", b"plain text", True)],
)
async def test_real_type_against_credentials(allowed: str, content: bytes, is_accepted: bool) -> None:
    """The type that the bytes have must match, whatever the client declared; early and at the end."""
    validator = RuleValidator()
    upload = upload_of(allowed)
    assert validator.applies_to(upload)
    assert (await validator.rejection(upload, content) == "") == is_accepted
    result = await validator.validate(upload, content_of(content), ignore)
    assert result.is_accepted == is_accepted
