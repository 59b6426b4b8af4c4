"""The types of setting values: how each is parsed and checked, and the words that describe it in error messages.

A check raises ``ValueError`` with the text that completes "it must be ...". ``settings.loading`` adds the name, the
value and the origin of the setting.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from tusd_py.model import addresses
from tusd_py.model.hooks import Hook

#: The documentation: an installed package does not contain it.
DOCS = "https://github.com/tusd-py/tusd-py/blob/main/docs"
#: Offsets are stored as signed 64-bit integers.
BYTES_MAX = 2**63 - 1
#: A hundred years: a longer time is a typing error, and would overflow ``datetime``.
SECONDS_MAX = 100 * 365 * 24 * 3600

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kKMGT]i?B)?", re.ASCII)
_UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_PATH_SEGMENTS = re.compile(r"(/[A-Za-z0-9._~-]+)+/?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})"
_AUTHORITY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{0,5}})?")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.ASCII)

# Headers that describe the client's connection or body. Copied to another request, they would break it.
_NOT_FORWARDED = re.compile(
    "accept|accept-encoding|connection|content-length|content-type|expect|host|keep-alive|te|trailer|transfer-encoding"
    "|upgrade|user-agent"
)


@dataclass(frozen=True, slots=True)
class Expects:
    """Describes the allowed values, in words that follow "it must be"."""

    words: str


@dataclass(frozen=True, slots=True)
class Confidential:
    """Marks a setting whose value is never shown, neither in messages nor by ``tusd-py check``."""


def _reject_bool(value: object) -> object:
    """Refuse ``true`` where a number is expected: ``bool`` is a subclass of ``int``."""
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def parse_size(value: object) -> object:
    """Convert text such as ``"10GiB"`` to bytes; return numbers unchanged."""
    _reject_bool(value)
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    unit = match and (match[2] or "B").replace("KB", "kB").replace("kiB", "KiB")
    if match is None or unit not in _UNITS:
        raise ValueError("a number of bytes, or a size such as 500MB or 10GiB")
    bytes_exact = Decimal(match[1]) * _UNITS[unit]
    if bytes_exact != int(bytes_exact):
        raise ValueError("a whole number of bytes")
    return int(bytes_exact)


def check_directory(value: str) -> str:
    """The path of a directory; an empty one would be the working directory."""
    # Not a constraint of pydantic: it refuses a path that is not UTF-8.
    if not value:
        raise ValueError("the path of a directory")
    return value


def check_base_path(value: str) -> str:
    """Return the path with a slash at its end; upload URLs are resolved against it."""
    if value != "/" and (not _PATH_SEGMENTS.fullmatch(value) or {".", ".."} & set(value.split("/"))):
        raise ValueError("an absolute path of letters, digits and . _ ~ -, such as /files/")
    return value if value.endswith("/") else value + "/"


def check_page_path(value: str) -> str:
    """Return the path without a slash at its end."""
    if value == "/":
        raise ValueError("an absolute path of letters, digits and . _ ~ -, such as /metrics (not / alone)")
    return check_base_path(value)[:-1]


def check_public_url(value: str) -> str:
    """Return the absolute URL with a slash at its end, or the empty string."""
    if not value:
        return value
    parts = urlsplit(value)
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or "@" in value)
    if not plain or not value.isascii() or any(character.isspace() for character in value):
        raise ValueError("an absolute URL such as https://example.com/files/, or empty")
    return value if value.endswith("/") else value + "/"


def parse_network(value: object) -> object:
    """Parse ``"10.0.0.7"`` or ``"10.0.0.0/8"``; bits after the prefix are ignored."""
    try:
        return addresses.parse_network(str(value))
    except ValueError:
        raise ValueError("a list of addresses or networks such as 10.0.0.0/8 or ::1") from None


def check_origin(value: str) -> str:
    """A web origin as browsers send it, or ``*``."""
    parts = urlsplit(value)
    if value != "*" and (not parts.hostname or value != f"{parts.scheme}://{parts.netloc}" or "*" in value):
        raise ValueError(
            'a list of origins such as https://example.com (no path, no slash at the end), or "*" for any origin'
        )
    return value if value == "*" else value.lower()


def check_header_name(value: str) -> str:
    """The name of an HTTP header."""
    if not _TOKEN.fullmatch(value):
        raise ValueError("a list of header names")
    return value


def check_forwarded_name(value: str) -> str:
    """The name of a request header that can be copied to a hook's request."""
    if _NOT_FORWARDED.fullmatch(check_header_name(value).lower()):
        raise ValueError("a list of header names, without those that describe the connection or the body")
    return value


def check_hook_name(value: str) -> str:
    """The name of a hook."""
    if value not in list(Hook):
        raise ValueError(f"a list of hooks, each one of {', '.join(Hook)}")
    return value


def check_url(value: str) -> str:
    """An absolute URL to send requests to, in a list of them."""
    if not is_usable_url(value):
        raise ValueError("a list of absolute URLs such as https://example.com/hooks")
    return value


def check_one_url(value: str) -> str:
    """An absolute URL to send requests to."""
    if not is_usable_url(value):
        raise ValueError("an absolute http or https URL such as https://example.com/hooks")
    return value


def is_usable_url(value: str) -> bool:
    """Whether requests can be sent to the URL."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        is_host = _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2]) is not None
        if re.fullmatch("[0-9.]+|.*:.*", host):
            ip_address(host)
        is_usable = parts.scheme in ("http", "https") and is_host and parts.port != 0
    except ValueError:
        return False
    return is_usable and value.isascii() and value.isprintable() and not {" ", "#"} & set(value)


def check_host(value: str) -> str:
    """A host name or address as it appears in a URL, with or without a port."""
    value = value.lower()
    if not _HOST.fullmatch(value):
        raise ValueError("a list of hosts such as uploads.example.com or uploads.example.com:8443")
    return value


def check_media_type(value: str) -> str:
    """A media type without parameters."""
    value = value.lower()
    if not _MEDIA_TYPE.fullmatch(value):
        raise ValueError("a list of media types such as image/png")
    return value


def check_secret(value: str) -> str:
    """A signing key of Standard Webhooks. The message does not repeat the value, which is secret."""
    try:
        size = len(b64decode(value.removeprefix("whsec_"), validate=True))
    except ValueError:
        size = 0
    if not value.startswith("whsec_") or not 24 <= size <= 64:
        raise ValueError("a list of keys: whsec_ and 24 to 64 random bytes in base64")
    return value


_BROKER = '"embedded", "redis", or the URL of a Redis server such as redis://127.0.0.1:6379/0'
_REDIS_PARAMETERS = frozenset(
    {"db", "username", "password", "client_name", "protocol", "health_check_interval"}
    | {"socket_timeout", "socket_connect_timeout"}
)
_REDIS_TLS_PARAMETERS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"}
    | {"ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers"}
)
_REDIS_URL = "the URL of a Redis server such as redis://127.0.0.1:6379/0, or empty"


def check_broker(value: str) -> str:
    """``embedded``, ``redis``, or the URL of a Redis server."""
    if value not in ("embedded", "redis"):
        _check_redis_url(value, _BROKER)
    return value


def check_redis_url(value: str) -> str:
    """The URL of a Redis server, or nothing."""
    if value:
        _check_redis_url(value, _REDIS_URL)
    return value


def _check_redis_url(value: str, expected: str) -> None:
    parts = urlsplit(value)
    if not (parts.scheme in ("redis", "rediss") and parts.hostname) and parts.scheme != "unix":
        raise ValueError(expected)
    # The client library would take others only at its first connection, in the middle of a request.
    known = _REDIS_PARAMETERS | (_REDIS_TLS_PARAMETERS if parts.scheme == "rediss" else frozenset())
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"{expected}, with no other parameter than {', '.join(sorted(known))}")


Bool = Annotated[bool, Expects("true or false")]
Text = Annotated[str, Expects("a string")]
Directory = Annotated[str, AfterValidator(check_directory), Expects("the path of a directory")]
Port = Annotated[int, BeforeValidator(_reject_bool), Field(ge=0, le=65535), Expects("a whole number from 0 to 65535")]
Count = Annotated[
    int, BeforeValidator(_reject_bool), Field(ge=1, le=1_000_000), Expects("a whole number from 1 to 1000000")
]
CountOrNone = Annotated[
    int, BeforeValidator(_reject_bool), Field(ge=0, le=1_000_000), Expects("a whole number from 0 to 1000000")
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=0, le=BYTES_MAX),
    Expects("a number of bytes, or a size such as 500MB or 10GiB"),
]
PositiveSize = Annotated[Size, Field(ge=1), Expects("a size of at least one byte, such as 64MiB")]
Seconds = Annotated[
    float,
    BeforeValidator(_reject_bool),
    Field(ge=0, le=SECONDS_MAX, allow_inf_nan=False),
    Expects("a number of seconds, 0 or more"),
]
WholeSeconds = Annotated[
    int,
    BeforeValidator(_reject_bool),
    Field(ge=0, le=SECONDS_MAX),
    Expects("a whole number of seconds, 0 or more"),
]
PositiveSeconds = Annotated[
    float,
    BeforeValidator(_reject_bool),
    Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False),
    Expects("a number of seconds, more than 0"),
]
Broker = Annotated[
    str,
    AfterValidator(check_broker),
    Expects(_BROKER),
]
RedisUrl = Annotated[str, AfterValidator(check_redis_url), Expects(_REDIS_URL)]
FileMode = Annotated[
    str,
    Field(pattern=r"^0[4-7][0-7][0-7]$"),
    Expects('an octal mode in quotes that the owner can read, such as "0640"'),
]
BasePath = Annotated[str, AfterValidator(check_base_path), Expects("an absolute path such as /files/")]
PagePath = Annotated[str, AfterValidator(check_page_path), Expects("an absolute path such as /metrics")]
PublicUrl = Annotated[str, AfterValidator(check_public_url), Expects("an absolute URL, or empty")]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)]
Networks = Annotated[tuple[Network, ...], Expects("a list of addresses or networks such as 10.0.0.0/8")]
Origin = Annotated[str, AfterValidator(check_origin)]
Origins = Annotated[tuple[Origin, ...], Expects('a list of origins such as https://example.com, or ["*"]')]
HeaderName = Annotated[str, AfterValidator(check_header_name)]
HeaderNames = Annotated[tuple[HeaderName, ...], Expects("a list of header names")]
Host = Annotated[str, AfterValidator(check_host)]
Hosts = Annotated[tuple[Host, ...], Expects("a list of hosts such as uploads.example.com or uploads.example.com:8443")]
MediaType = Annotated[str, AfterValidator(check_media_type)]
MediaTypes = Annotated[tuple[MediaType, ...], Expects("a list of media types such as image/png")]
HookName = Annotated[str, AfterValidator(check_hook_name)]
HookNames = Annotated[tuple[HookName, ...], Expects("a list of hooks such as pre-create")]
ForwardedName = Annotated[str, AfterValidator(check_forwarded_name)]
ForwardedNames = Annotated[tuple[ForwardedName, ...], Expects("a list of header names")]
Url = Annotated[str, AfterValidator(check_url)]
Urls = Annotated[tuple[Url, ...], Expects("a list of absolute URLs such as https://example.com/hooks")]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work; each value is valid by itself."""
        return iter(())

    @model_validator(mode="after")
    def _check_combinations(self, info: ValidationInfo) -> Self:
        """Add the problems to the list that is the context; without one raise an error with all of them.

        An error would end the validation before the combinations of values of several sections are looked at.
        """
        problems = list(self.problems())
        if isinstance(info.context, list):
            info.context.extend(problems)
        elif problems:
            raise ValueError("; ".join(problems))
        return self
