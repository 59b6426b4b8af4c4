"""The interop versions of the draft, and the choice of the protocol version for a request.

"The interop version is bumped for breaking changes": each breaking change is a field of ``Version``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from tusd_py.protocol.draft.structured_fields import parse_boolean, parse_integer
from tusd_py.protocol.errors import MalformedHeader
from tusd_py.protocol.requests import Head

_INTEROP_VERSION = b"upload-draft-interop-version"
_COMPLETE = b"upload-complete"
#: Methods that may carry content, so that each of them may create an upload.
CREATING_METHODS = ("POST", "PUT", "PATCH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One interop version of the draft. The defaults are those of the newest version."""

    number: int | None  # Upload-Draft-Interop-Version; None for a client that names no known version
    inverts_completeness: bool = False  # has Upload-Incomplete, the negation of Upload-Complete
    sends_progress: bool = True  # 104 may include an offset
    has_media_type: bool = True  # an append has the type application/partial-upload
    lifetime_key: str | None = "max-age"  # in Upload-Limit; None before this field existed
    has_completed_problem: bool = False  # has the problem type completed-upload
    is_strict: bool = False  # fixed statuses, and no state headers in HEAD and DELETE requests
    requires_completeness: bool = True  # an append must have Upload-Complete
    get_returns_offset: bool = True  # GET returns the offset like HEAD
    #: Reaching the length completes an upload even without Upload-Complete: ?1. tusd does so, and tus-js-client 4.3.1,
    #: which supports no later version, sends ?0 for an empty file and, under Node, for the last of several chunks.
    length_completes: bool = False
    #: Requests that create an upload with content are bound by the limits of appends, too.
    limits_creations: bool = True
    has_accept_patch: bool = False  # OPTIONS has Accept-Patch
    #: The end of the lifetime that ``max-age`` and ``Date`` imply never moves to an earlier second.
    rounds_lifetime_to_date: bool = True


_V8 = Version(
    number=8,
    has_completed_problem=True,
    limits_creations=False,
    has_accept_patch=True,
    rounds_lifetime_to_date=False,
)
_V6 = replace(
    _V8,
    number=6,
    lifetime_key="expires",
    is_strict=True,
    requires_completeness=False,
    get_returns_offset=False,
    length_completes=True,
)
_V5 = replace(_V6, number=5, has_media_type=False, lifetime_key=None, has_completed_problem=False)
_V4 = replace(_V5, number=4, sends_progress=False)

#: By number. Drafts: 3 is -01, 4 is -02, 5 is -03, 6 is -04 and -05, 7 is -06 to -08, 8 is -09 to -11, 9 is -12.
VERSIONS: Mapping[int, Version] = MappingProxyType(
    {
        3: replace(_V4, number=3, inverts_completeness=True),
        4: _V4,
        5: _V5,
        6: _V6,
        7: replace(_V8, number=7, get_returns_offset=False),
        8: _V8,
        9: Version(number=9),
    }
)
#: The newest version, used when a client names none.
NEWEST = VERSIONS[max(VERSIONS)]
#: For a client that names no known version: a whole upload in one request, without resumption.
UNVERSIONED = Version(number=None, sends_progress=False)


class Dialect(Enum):
    """The protocols of a request besides a version of the draft."""

    TUS = "tus"  # tus 1.0
    BOTH = "both"  # the request names no version; the response has the headers of both protocols
    BOTH_WITH_ACCEPT_PATCH = "both with Accept-Patch"  # the same, for OPTIONS of versions that have this header


def negotiate(head: Head, method: str, versions: Mapping[int, Version] = VERSIONS) -> Dialect | Version:
    """The protocol of a request; ``method`` is the effective one. The default is tus 1.0.

    Raises ``MalformedHeader`` if the request names versions of both protocols.
    """
    if not versions:
        return Dialect.TUS
    headers = head.headers
    names_tus = b"tus-resumable" in headers
    named = headers.get(_INTEROP_VERSION)
    if method == "OPTIONS":
        asked = versions.get(parse_integer(named or "") or 0, NEWEST)
        return Dialect.BOTH_WITH_ACCEPT_PATCH if asked.has_accept_patch else Dialect.BOTH
    if named is not None:
        if names_tus:
            raise MalformedHeader("Upload-Draft-Interop-Version", "no such header beside Tus-Resumable")
        version = versions.get(parse_integer(named) or 0)
        if version is not None:
            # In versions where GET has no meaning, it is a download.
            return Dialect.TUS if method == "GET" and not version.get_returns_offset else version
    if names_tus:
        return Dialect.TUS
    if method == "HEAD":
        return Dialect.BOTH
    # Without a version the upload cannot be resumed, so only a whole upload is accepted, as by any HTTP server.
    is_whole = parse_boolean(headers.get(_COMPLETE) or "") is True
    return UNVERSIONED if is_whole and method in CREATING_METHODS and not head.path.strip("/") else Dialect.TUS
