"""The errors of the protocol."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tusd_py.model.upload import Upload
from tusd_py.protocol import access_errors, concat_errors, errors
from tusd_py.protocol.errors import TusError

#: One error of each class with fields; the other classes need no arguments.
WITH_FIELDS: list[TusError] = [
    access_errors.QuotaReached("bytes_per_day", 5, 3, "2026-01-02T00:00:00Z"),
    access_errors.FileQuotaReached("files_per_day", 5, 5, "2026-02-01T00:00:00Z"),
    access_errors.FileQuotaReached("uploads_at_once", 5, 5, ""),
    access_errors.LinkEnded("has expired"),
    access_errors.CodeLimitReached("2 files and 10 bytes", "2 files and 4 bytes"),
    access_errors.Unauthenticated("the token has expired"),
    errors.UnsupportedVersion(None),
    errors.UnsupportedVersion("0.2.2"),
    errors.MethodNotAllowed(("POST", "OPTIONS")),
    errors.MalformedHeader("X", "y"),
    errors.InvalidLength("X", "y"),
    errors.InvalidDeferLength("X", "y"),
    errors.InvalidOffset("X", "y"),
    errors.InvalidMetadata("X", "y"),
    errors.InvalidConcat("X", "y"),
    errors.InvalidChecksum("X", "y"),
    errors.UnsupportedAlgorithm(("sha1", "md5")),
    errors.HeaderTooLarge("X", 5),
    errors.ExtensionDisabled("concatenation"),
    errors.OffsetMismatch(3, 5),
    errors.LengthExceeded(5),
    errors.MaxSizeExceeded(5),
    errors.AppendTooLarge(5),
    errors.AppendTooSmall(5),
    errors.LengthAlreadyKnown(5, 0),
    errors.LengthAlreadyKnown(None, 3),
    concat_errors.TooManyParts(2),
    concat_errors.PartUsedTooOften(16),
    errors.RangeNotSatisfiable(5),
    errors.TypeNotAllowed("its type is text/html"),
]


def all_errors() -> list[TusError]:
    """At least one error of every class, and one for each message."""
    covered = {type(error) for error in WITH_FIELDS}
    named = [value for module in (errors, access_errors, concat_errors) for value in vars(module).values()]
    classes = {value for value in named if isinstance(value, type) and issubclass(value, TusError)}
    return WITH_FIELDS + [value() for value in sorted(classes - covered - {TusError}, key=lambda cls: cls.__name__)]


@pytest.mark.parametrize("error", all_errors(), ids=repr)
def test_every_error_has_status_code_and_message(error: TusError) -> None:
    """Each has an error status, a code in the style of tusd, and a unique message with all fields filled in."""
    assert 400 <= error.status <= 599
    assert error.code.startswith("ERR_")
    assert error.code != TusError.code
    sentence = str(error)
    assert sentence != str(TusError())
    assert "{" not in sentence
    assert "\n" not in sentence
    assert not sentence.endswith(".")


def test_messages_never_quote_the_client() -> None:
    """A message states what was expected, never what was received: that may be anything."""
    assert "0.2.2" not in str(errors.UnsupportedVersion("0.2.2"))


def test_with_upload() -> None:
    """The same error, now with the upload."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    upload = Upload(id="a", length=5, created_at=now, updated_at=now)
    error = errors.OffsetMismatch(0, 5)
    assert error.with_upload(upload) is error
    assert error.upload is upload
