"""The sentences for common mistakes in the settings of S3."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tusd_py.storage.s3.refusals import describe, describe_failure, describe_local


def refusal(code: str, status: int, headers: Mapping[str, str] | None = None, **more: str) -> Mapping[str, object]:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": dict(headers or {})}
    return {"Error": {"Code": code, **more}, "ResponseMetadata": metadata}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (refusal("NoSuchBucket", 404), "the bucket does not exist: create it, or change s3.bucket"),
        (
            refusal("InvalidAccessKeyId", 403),
            "S3 does not know the access key (InvalidAccessKeyId): check s3.access_key",
        ),
        (refusal("XAdminUserNotFound", 404), "S3 does not know the access key (XAdminUserNotFound)"),
        (refusal("SignatureDoesNotMatch", 403), "the secret key is not that of the access key"),
        (refusal("ExpiredToken", 400), "the credentials of the environment have ended (ExpiredToken): renew them"),
        (
            refusal("AuthorizationHeaderMalformed", 400, Region="eu-west-1"),
            "the bucket is in the region eu-west-1: set s3.region",
        ),
        (
            refusal("PermanentRedirect", 301, {"x-amz-bucket-region": "eu-north-1"}),
            "the bucket is in the region eu-north-1: set s3.region",
        ),
        (refusal("PermanentRedirect", 301), "S3 answered 301 PermanentRedirect: the bucket is in another region"),
        (refusal("KMS.NotFoundException", 400), "S3 cannot use the key for encryption (KMS.NotFoundException)"),
        (
            refusal("AccessDenied", 403),
            "S3 answered 403 AccessDenied: the credentials lack the permission s3:PutObject for mine",
        ),
        (refusal("SlowDown", 503), "S3 answered 503 SlowDown"),
        (refusal("", 500), "the answer is 500 without a code of S3: check s3.endpoint_url"),
    ],
)
def test_one_sentence_for_each_mistake(response: Mapping[str, object], expected: str) -> None:
    """It names the setting to change; of what is unknown it has status and code."""
    assert describe(response, "put_object", "mine").startswith(expected)


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("create_multipart_upload", "s3:PutObject"),
        ("get_object_tagging", "s3:GetObjectTagging"),
        ("list_objects_v2", "s3:ListBucket"),
    ],
)
def test_missing_permission_is_named(operation: str, action: str) -> None:
    """As policies call it."""
    assert f"the permission {action} for" in describe(refusal("AccessDenied", 403), operation, "mine")


def test_clock_skew_is_measured() -> None:
    """By the date of the response, if it has one."""
    there = format_datetime(datetime.now(UTC) + timedelta(minutes=42, seconds=3), usegmt=True)
    sentence = describe(refusal("RequestTimeTooSkewed", 403, {"date": there}), "put_object", "mine")
    assert sentence == "the clock of this machine differs from that of S3 by 42 minutes: set the clock"
    unknown = describe(refusal("RequestTimeTooSkewed", 403, {"date": "yesterday"}), "put_object", "mine")
    assert unknown == "the clock of this machine differs from that of S3: set the clock"


def test_failures_without_a_response() -> None:
    """The host is named if it was asked."""
    from botocore import exceptions

    unsent = describe_failure(exceptions.NoCredentialsError(), "s3.example.com")
    assert unsent == "there are no credentials: set s3.access_key and s3.secret_key, or those of the environment"
    silent = describe_failure(TimeoutError(), "s3.example.com")
    assert silent == "S3 cannot be reached: TimeoutError at s3.example.com"
    untrusted = describe_failure(exceptions.SSLError(endpoint_url="", error=""), "s3.example.com")
    assert untrusted.startswith("S3 cannot be reached: SSLError at s3.example.com: its certificate is not trusted")


def test_exceptions_of_the_library_are_known() -> None:
    """The names are those of botocore; of others nothing is said."""
    from botocore import exceptions, parsers

    known = (exceptions.NoCredentialsError(), exceptions.NoRegionError(), parsers.ResponseParserError())
    assert all(describe_local(error) for error in known)
    assert describe_local(ValueError()) == ""
