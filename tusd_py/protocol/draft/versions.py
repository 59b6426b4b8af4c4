"""The draft's interop versions, and which of them, or which other dialect, a request speaks.

"The interop version is bumped for breaking changes": what each change was stands here, as one field of ``Version``.
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
    """One iteration of the draft. Defaults are those of the newest."""

    number: int | None  # Upload-Draft-Interop-Version; None for a client that names none we know
    says_incomplete: bool = False  # Upload-Incomplete, whose value is the opposite of Upload-Complete's
    tells_progress: bool = True  # 104 may tell an offset
    has_media_type: bool = True  # an append is application/partial-upload
    lifetime_key: str | None = "max-age"  # of Upload-Limit; None before there was this field
    names_completed: bool = False  # there is a problem type for changing what is complete
    is_strict: bool = False  # procedures with a status each, and nothing about the upload's state in HEAD and DELETE
    needs_completeness: bool = True  # an append that does not tell whether it is the last is refused
    retrieves_by_get: bool = True  # GET tells the offset as HEAD does
    #: The length alone completes an upload as well: so does tusd, and tus-js-client, which speaks no later version,
    #: says of an empty file and of the last of several chunks (4.3.1, under Node) that more will come.
    length_completes: bool = False


_V6 = Version(
    number=6,
    lifetime_key="expires",
    names_completed=True,
    is_strict=True,
    needs_completeness=False,
    retrieves_by_get=False,
    length_completes=True,
)
_V5 = replace(_V6, number=5, has_media_type=False, lifetime_key=None, names_completed=False)
_V4 = replace(_V5, number=4, tells_progress=False)

#: By their number. Drafts: 3 is -01, 4 is -02, 5 is -03, 6 is -04 and -05, 7 is -06 to -08, 8 is -09 to -11, 9 is -12.
VERSIONS: Mapping[int, Version] = MappingProxyType(
    {
        3: replace(_V4, number=3, says_incomplete=True),
        4: _V4,
        5: _V5,
        6: _V6,
        7: Version(number=7, names_completed=True, retrieves_by_get=False),
        8: Version(number=8, names_completed=True),
        9: Version(number=9),
    }
)
#: The newest, for answers to who names none.
NEWEST = VERSIONS[max(VERSIONS)]
#: What is spoken with a client whose version we do not know: an upload in one request, and nothing to resume.
PLAIN = Version(number=None, tells_progress=False)


class Dialect(Enum):
    """What else a request may speak."""

    TUS = "tus"  # tus 1.0
    EITHER = "either"  # a question that names neither: the answer suits both


def negotiate(head: Head, method: str, versions: Mapping[int, Version] = VERSIONS) -> Dialect | Version:
    """What ``head`` speaks, ``method`` being the effective one: tus 1.0 where no version of the draft is spoken.

    Raises ``MalformedHeader`` where it claims to speak both.
    """
    if not versions:
        return Dialect.TUS
    if method == "OPTIONS":
        return Dialect.EITHER
    headers = head.headers
    speaks_tus = b"tus-resumable" in headers
    named = headers.get(_INTEROP_VERSION)
    if named is not None:
        if speaks_tus:
            raise MalformedHeader("Upload-Draft-Interop-Version", "no such header beside Tus-Resumable")
        version = versions.get(parse_integer(named) or 0)
        if version is not None:
            # Before GET had a meaning in the draft, it was a download like any other.
            return Dialect.TUS if method == "GET" and not version.retrieves_by_get else version
    if speaks_tus:
        return Dialect.TUS
    if method == "HEAD":
        return Dialect.EITHER
    # A part of an upload that nobody can go on with is not taken; the whole of one is, as any server would.
    is_whole = parse_boolean(headers.get(_COMPLETE) or "") is True
    return PLAIN if is_whole and method in CREATING_METHODS and head.path in ("", "/") else Dialect.TUS
