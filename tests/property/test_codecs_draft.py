"""The codecs of the draft: a formatted value is parsed to itself; junk raises a documented error or is ignored."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.support.client_headers import digest_header
from tusd_py.model.upload import Upload
from tusd_py.protocol.checksum import Checksum, new_digest
from tusd_py.protocol.draft.digests import ALGORITHMS, parse_digest
from tusd_py.protocol.draft.parsing import DraftParser
from tusd_py.protocol.draft.representation import parse_description, parse_filename
from tusd_py.protocol.draft.responses import DraftFormatter
from tusd_py.protocol.draft.structured_fields import (
    INTEGER_MAX,
    format_boolean,
    format_dictionary,
    format_integer,
    parse_boolean,
    parse_dictionary,
    parse_integer,
)
from tusd_py.protocol.draft.versions import UNVERSIONED, VERSIONS, Version, negotiate
from tusd_py.protocol.errors import InvalidChecksum, TusError
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.outcomes import Created
from tusd_py.protocol.requests import Append, Create, Head
from tusd_py.protocol.responses import Response, ResponseContext
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(length_max=1000, metadata_bytes_max=200)
SENDABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX)
KEYS = st.from_regex(r"[a-z*][a-z0-9_.*-]{0,9}", fullmatch=True)
VALUES = st.booleans() | INTEGERS | st.binary(max_size=40)
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
FIELDS = st.text('?01a;=(),:" \t@%\\-.Yc3', max_size=24)
ASKED_FOR = st.sampled_from([*VERSIONS.values(), UNVERSIONED])

#: What is right for a header, or was meant to be.
MEANT: dict[bytes, tuple[bytes, ...]] = {
    b"upload-draft-interop-version": (b"3", b"6", b"8", b"9", b"10", b"6;x"),
    b"upload-complete": (b"?0", b"?1", b"?1;a=b", b"1"),
    b"upload-incomplete": (b"?0", b"?1"),
    b"upload-offset": (b"0", b"5", b"-1", b"999999999999999"),
    b"upload-length": (b"0", b"5", b"9", b"999999999999999"),
    b"content-length": (b"0", b"4", b"5", b"999999999999999"),
    b"content-type": (b"application/partial-upload", b"image/png"),
    b"content-disposition": (b'inline; filename="a"',),
    b"content-digest": (b"sha-256=:AAAA:", b"md5=:XUFAKrxLKna5cZ2REBfFkg==:"),
    b"repr-digest": (b"md5=:XUFAKrxLKna5cZ2REBfFkg==:",),
    b"x-http-method-override": (b"HEAD", b"PATCH"),
    b"tus-resumable": (b"1.0.0",),
}


@st.composite
def heads(draw: st.DrawFn) -> Head:
    """A request that may mean something: each header right, nearly so, or anything; perhaps twice."""
    names = draw(st.lists(st.sampled_from(sorted(MEANT)), max_size=8))
    junk = LATIN.map(lambda text: text.encode("latin-1"))
    headers = [(name, draw(st.sampled_from(MEANT[name]) | junk)) for name in names]
    method = draw(st.sampled_from(["POST", "PUT", "PATCH", "HEAD", "GET", "DELETE", "OPTIONS", "BREW"]))
    return Head(
        method=method, path=draw(st.sampled_from(["", "/", "a", "/a/", "a/b", "\xff"])), headers=Headers(headers)
    )


@given(st.booleans(), INTEGERS)
def test_item_round_trip(boolean: bool, integer: int) -> None:
    """A Boolean and an Integer are parsed as such, and neither as the other."""
    assert parse_boolean(format_boolean(boolean)) is boolean
    assert integer == parse_integer(format_integer(integer))
    assert parse_integer(format_boolean(boolean)) is parse_boolean(format_integer(integer)) is None


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_dictionary_round_trip(members: dict[str, bool | int | bytes]) -> None:
    """Values, types and order are kept."""
    back = parse_dictionary(format_dictionary(members))
    assert back is not None
    assert list(members.items()) == list(back.items())
    assert [type(value) for value in members.values()] == [type(value) for value in back.values()]


@given(FIELDS | LATIN)
def test_junk_fields(text: str) -> None:
    """Parsers return a value or None; numbers are in range."""
    assert parse_boolean(text) in (True, False, None)
    integer = parse_integer(text)
    assert integer is None or abs(integer) <= INTEGER_MAX
    parse_dictionary(text)


@given(st.sampled_from(sorted(ALGORITHMS.values())), st.binary(max_size=40))
def test_digest_round_trip(algorithm: str, data: bytes) -> None:
    """A formatted digest is parsed to the same value."""
    digest = new_digest(algorithm)
    digest.update(data)
    checksum = Checksum(algorithm, digest.digest())
    assert checksum == parse_digest("Content-Digest", digest_header(checksum))


@given(LATIN | FIELDS.map("sha-256={}".format))
def test_junk_digests(text: str) -> None:
    """Junk is ignored or refused as an invalid checksum."""
    try:
        checksum = parse_digest("Content-Digest", text)
    except InvalidChecksum:
        return
    assert checksum is None or checksum.algorithm in ALGORITHMS.values()


@given(LATIN, LATIN)
def test_description_is_valid_metadata(disposition: str, media_type: str) -> None:
    """Any description becomes valid metadata, and a name is never a path."""
    raw = [(b"content-disposition", disposition.encode("latin-1")), (b"content-type", media_type.encode("latin-1"))]
    parsed = parse_metadata(parse_description(Headers(raw), 100_000))
    assert parsed.keys() <= {"filename", "filetype"}
    name = parse_filename(disposition)
    assert name is None or (name and "/" not in name and "\\" not in name)


@given(heads(), ASKED_FOR)
def test_any_head_has_a_response(head: Head, version: Version) -> None:
    """Any head is parsed or refused, and either has a valid response."""
    formatter = DraftFormatter(limits=LIMITS, version=version, clock=lambda: NOW)
    context = ResponseContext(head.method, head.method)
    try:
        negotiate(head, head.method)
        request = DraftParser(limits=LIMITS, version=version).parse(head)
    except TusError as refusal:
        response = formatter.format_refusal(refusal, context)
        assert isinstance(response.body, bytes)
        assert head.method == "HEAD" or json.loads(response.body)["code"] == refusal.code
        assert_sendable(response)
        return
    if isinstance(request, Append):
        assert 0 <= request.offset <= INTEGER_MAX
        assert request.length is None or 0 <= request.length <= INTEGER_MAX
    if isinstance(request, Create):
        assert request.is_last is not None or version.length_completes
        assert request.length is None or 0 <= request.length <= INTEGER_MAX
        assert len(request.metadata_header or "") <= LIMITS.metadata_bytes_max
        assert request.body is not None or not request.is_last or request.length == 0
        upload = Upload(id="a", length=request.length, created_at=NOW, updated_at=NOW)
        assert_sendable(formatter.format_outcome(Created(upload=upload, took_body=True), context, "/files/a"))


def assert_sendable(response: Response) -> None:
    assert 200 <= response.status <= 599
    assert all(name == name.lower() and SENDABLE.fullmatch(value) for name, value in response.headers)
