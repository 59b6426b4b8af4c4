"""Sentences for operators about refusals of S3, one for each common mistake."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

#: The permission that each operation needs, where the name of the action differs from that of the operation.
_ACTIONS: Mapping[str, str] = {
    "create_multipart_upload": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "upload_part_copy": "s3:GetObject and s3:PutObject",
    "head_object": "s3:GetObject and s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_parts": "s3:ListMultipartUploadParts",
}
_UNKNOWN_KEY = frozenset({"InvalidAccessKeyId", "InvalidAccessKey", "XAdminUserNotFound", "AccessKeyNotFound"})
_OLD_TOKEN = frozenset({"ExpiredToken", "InvalidToken", "ExpiredTokenException", "TokenRefreshRequired"})
_OTHER_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301", "307"}
)
_SKEW_NAMED_SECONDS = 60


def describe(response: Mapping[str, Any], operation: str, bucket: str) -> str:
    """The reason why S3 refused ``operation``, and what to change."""
    error = response.get("Error", {})
    code, status = str(error.get("Code", "")), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return "the bucket does not exist: create it, or change s3.bucket"
    if code in _UNKNOWN_KEY:
        return f"S3 does not know the access key ({code}): check s3.access_key, or the credentials of the environment"
    if code == "SignatureDoesNotMatch":
        return (
            "the secret key is not that of the access key (SignatureDoesNotMatch): check s3.secret_key; a proxy in "
            "front of S3 must not change requests"
        )
    if code == "RequestTimeTooSkewed":
        return f"the clock of this machine differs from that of S3{_skew(response)}: set the clock"
    if code in _OLD_TOKEN:
        return f"the credentials of the environment have ended ({code}): renew them"
    if code in _OTHER_REGION:
        return _other_region(response, code, status)
    if code.startswith(("KMS.", "Kms")):
        return f"S3 cannot use the key for encryption ({code}): check s3.kms_key_id, and the permissions for the key"
    if status == 403:
        return f"S3 answered 403 {code}: the credentials lack the permission {_action(operation)} for {bucket}"
    if code in ("", "404"):
        return f"the answer is {status} without a code of S3: check s3.endpoint_url"
    return f"S3 answered {status} {code}"


def _action(operation: str) -> str:
    return _ACTIONS.get(operation) or "s3:" + "".join(word.capitalize() for word in operation.split("_"))


def _other_region(response: Mapping[str, Any], code: str, status: int) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region", "")
    if region:
        return f"the bucket is in the region {region}: set s3.region"
    return f"S3 answered {status} {code}: the bucket is in another region; check s3.region and s3.endpoint_url"


def _skew(response: Mapping[str, Any]) -> str:
    """By how much, as far as the response says what time it is there."""
    try:
        there = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        seconds = abs((datetime.now(UTC) - there).total_seconds())
    except (KeyError, TypeError, ValueError):
        return ""
    return f" by {seconds / 60:.0f} minutes" if seconds >= _SKEW_NAMED_SECONDS else ""


#: Why no request was made, or what the answer means, by the name of botocore's exception.
_LOCAL: Mapping[str, str] = {
    "NoCredentialsError": "there are no credentials: set s3.access_key and s3.secret_key, or those of the environment",
    "PartialCredentialsError": "the credentials are incomplete: set both s3.access_key and s3.secret_key",
    "NoRegionError": "the region is unknown: set s3.region",
    "InvalidRegionError": "s3.region is not the name of a region",
    "ParamValidationError": "s3.bucket or another setting of [s3] has an invalid value",
    "ResponseParserError": "what answers there is not S3: check s3.endpoint_url",
    "SSLError": "its certificate is not trusted, or it does not speak TLS: check s3.endpoint_url (https by default)",
}


#: Of these the service knows nothing: no request was sent.
_UNSENT = frozenset({"NoCredentialsError", "PartialCredentialsError", "ParamValidationError"})


def describe_failure(error: Exception, host: str) -> str:
    """Why a request to ``host`` failed without a response of S3, and what to change."""
    reason = describe_local(error)
    if type(error).__name__ in _UNSENT:
        return reason
    return ": ".join(filter(None, (f"S3 cannot be reached: {type(error).__name__} at {host}", reason)))


def describe_local(error: Exception) -> str:
    """What to change because of an exception of the client library; empty if its name says it all."""
    return _LOCAL.get(type(error).__name__, "")
