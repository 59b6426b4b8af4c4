"""The section ``[s3]``: the bucket for the bytes of uploads."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tusd_py.settings.values import Confidential, Expects, PositiveSize, Section, Text, check_one_url

_MIB = 1024**2


def _check_endpoint(value: str) -> str:
    """A host without a scheme is taken as https."""
    if not value:
        return value
    return check_one_url(value if "://" in value else f"https://{value}")


class S3Settings(Section):
    """An S3-compatible object store, for ``storage.kind`` "s3"."""

    bucket: Text = ""
    endpoint_url: Annotated[str, AfterValidator(_check_endpoint), Expects("a URL or a host name")] = ""
    region: Text = ""
    access_key: Text = ""
    secret_key: Annotated[str, Confidential(), Expects("a string")] = Field(default="", repr=False)
    prefix: Text = ""
    part_bytes: Annotated[PositiveSize, Field(ge=5 * _MIB), Expects("a size, at least 5MiB")] = 8 * _MIB
    part_bytes_max: Annotated[PositiveSize, Field(ge=5 * _MIB), Expects("a size, at least 5MiB")] = 64 * _MIB
    memory_bytes: PositiveSize = 256 * _MIB
    parallel_parts: Annotated[int, Field(ge=1, le=64), Expects("a number from 1 to 64")] = 4
