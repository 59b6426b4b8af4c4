"""The section ``[s3]``: the bucket for the bytes of uploads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tusd_py.settings.processing import FIELD, PATTERN_FIELDS, check_pattern
from tusd_py.settings.values import (
    Bool,
    Confidential,
    Expects,
    PositiveSeconds,
    PositiveSize,
    Section,
    Text,
    check_one_url,
)

_MIB = 1024**2
_WEEK_SECONDS = 7 * 24 * 3600
#: The fields whose values are names of any length; those of dates are short.
_LONG_FIELDS = frozenset({"id", "owner", "filename", "stem", "extension"})
#: Four names of 200 bytes and some dates fit into a key, which has at most 1,024 bytes.
_LONG_SEGMENTS_MAX = 4
#: The names below ``prefix`` that this server uses for other objects.
_RESERVED = frozenset({"tails", "publishing", "probe"})
_TAGS_MAX = 10
_TAG_KEY = re.compile(r"(?!aws:)[\w +\-.:/@]{1,128}")


def _check_endpoint(value: str) -> str:
    """A host without a scheme is taken as https."""
    if not value:
        return value
    return check_one_url(value if "://" in value else f"https://{value}")


def _check_key_pattern(value: str) -> str:
    """The pattern of a key that shows to which upload an object belongs."""
    check_pattern(value)
    segments = value.split("/")
    if "{" in segments[0] or segments[0] in _RESERVED or segments.count("{id}") != 1:
        raise ValueError("a pattern such as uploads/{owner}/{id}: first a name without a field, and {id} alone once")
    if "{folders}" in segments:
        raise ValueError("a pattern without {folders}: a key would become too long")
    if sum(not _LONG_FIELDS.isdisjoint(FIELD.findall(segment)) for segment in segments) > _LONG_SEGMENTS_MAX:
        raise ValueError("a pattern of fewer parts: a key has at most 1,024 bytes")
    return value


def _check_tag(value: str) -> str:
    """A key and a pattern for its value."""
    key, equals, pattern = value.partition("=")
    fields = set(FIELD.findall(pattern))
    if not equals or not _TAG_KEY.fullmatch(key) or not pattern or not fields <= set(PATTERN_FIELDS) - {"folders"}:
        raise ValueError('a list of tags such as "owner={owner}", of which "aws:" does not begin the key')
    return value


def _check_tags(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > _TAGS_MAX or len({tag.partition("=")[0] for tag in value}) < len(value):
        raise ValueError(f"a list of at most {_TAGS_MAX} tags with different keys")
    return value


def _check_line(value: str) -> str:
    """The value of a header."""
    if not value.isascii() or not value.isprintable():
        raise ValueError("text of printable ASCII characters")
    return value


HeaderText = Annotated[str, AfterValidator(_check_line), Expects("text of printable ASCII characters")]
Capability = Annotated[Literal["auto", "yes", "no"], Expects('"auto", "yes" or "no"')]
Tag = Annotated[str, AfterValidator(_check_tag)]


class S3Settings(Section):
    """An S3-compatible object store, for ``storage.kind`` "s3"."""

    bucket: Text = ""
    endpoint_url: Annotated[str, AfterValidator(_check_endpoint), Expects("a URL or a host name")] = ""
    region: Text = ""
    access_key: Text = ""
    secret_key: Annotated[str, Confidential(), Expects("a string")] = Field(default="", repr=False)
    prefix: Text = ""
    key_pattern: Annotated[str, AfterValidator(_check_key_pattern), Expects("a pattern such as uploads/{id}")] = (
        "uploads/{id}"
    )
    part_bytes: Annotated[PositiveSize, Field(ge=5 * _MIB), Expects("a size, at least 5MiB")] = 8 * _MIB
    part_bytes_max: Annotated[PositiveSize, Field(ge=5 * _MIB), Expects("a size, at least 5MiB")] = 64 * _MIB
    memory_bytes: PositiveSize = 256 * _MIB
    parallel_parts: Annotated[int, Field(ge=1, le=64), Expects("a number from 1 to 64")] = 4
    timeout_seconds: PositiveSeconds = 30.0
    copy_parts: Capability = "auto"
    conditional_writes: Capability = "auto"
    download: Annotated[Literal["stream", "redirect"], Expects('"stream" or "redirect"')] = "stream"
    download_seconds: Annotated[int, Field(ge=1, le=_WEEK_SECONDS), Expects("a number of seconds, at most 604800")] = (
        300
    )
    public_endpoint_url: Annotated[str, AfterValidator(_check_endpoint), Expects("a URL or a host name")] = ""
    storage_class: HeaderText = ""
    tags: Annotated[
        tuple[Tag, ...], AfterValidator(_check_tags), Expects('a list of tags such as "owner={owner}"')
    ] = ()
    cache_control: HeaderText = ""
    content_type: Annotated[Literal["", "download", "client"], Expects('"download", "client" or empty')] = ""
    content_disposition: Bool = False
    encryption: Annotated[
        Literal["", "AES256", "aws:kms", "aws:kms:dsse"], Expects('"AES256", "aws:kms", "aws:kms:dsse" or empty')
    ] = ""
    kms_key_id: HeaderText = ""
    bucket_key: Bool = False

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if bool(self.access_key) != bool(self.secret_key):
            yield "only one of s3.access_key and s3.secret_key is set: set both, or none for those of the environment"
        if self.kms_key_id and not self.encryption.startswith("aws:kms"):
            yield 's3.kms_key_id is set while s3.encryption is not "aws:kms": the key would not be used'
        if self.bucket_key and self.encryption != "aws:kms":
            yield 's3.bucket_key is true while s3.encryption is not "aws:kms": there is no key to save requests of'
        if self.download == "stream" and self.public_endpoint_url:
            yield 's3.public_endpoint_url is set while s3.download is "stream": clients do not connect to S3 then'

    def own_keys(self) -> tuple[str, ...]:
        """The prefixes of the keys that this server uses for itself."""
        names = ("uploads", self.key_pattern.partition("/")[0], *sorted(_RESERVED))
        return tuple(f"{self.prefix}{name}/" for name in names)
