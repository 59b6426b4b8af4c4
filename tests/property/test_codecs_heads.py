"""Heads with random headers: each is parsed or refused, and the response is valid."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tusd_py.model.ids import is_upload_id
from tusd_py.model.upload import Upload
from tusd_py.protocol.downloads import select_range
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import NUMBER_MAX, SINGLETONS, Headers
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.outcomes import Created, Inspected
from tusd_py.protocol.parsing import Parser, effective_method
from tusd_py.protocol.requests import Append, Create, Discover, Download, Head, Request
from tusd_py.protocol.responses import Formatter, Response, ResponseContext, extensions
from tusd_py.protocol.rules import Limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(length_max=1000, metadata_bytes_max=100)
PARSERS = (Parser(limits=LIMITS), Parser(limits=Limits(), trailers=True, hosts=("tus.test",)))
FORMATTER = Formatter(limits=LIMITS, extensions=extensions(LIMITS))
# What may stand in a header's value: RFC 9110, 5.5, without the line ends and NULs that split answers.
SENDABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

#: What is right for a header, or was meant to be.
MEANT: dict[bytes, tuple[bytes, ...]] = {
    b"tus-resumable": (b"1.0.0",),
    b"x-http-method-override": (b"PATCH", b"HEAD"),
    b"content-type": (b"application/offset+octet-stream", b"text/plain"),
    b"content-length": (b"0", b"5"),
    b"content-encoding": (b"identity", b"gzip"),
    b"transfer-encoding": (b"chunked",),
    b"trailer": (b"Upload-Checksum",),
    b"upload-offset": (b"0", b"5"),
    b"upload-length": (b"0", b"5", b"9223372036854775807"),
    b"upload-defer-length": (b"1",),
    b"upload-metadata": (b"filename YQ==,b", b"", b"b /w==, a "),
    b"upload-concat": (b"partial", b"final;/files/a http://tus.test/files/b"),
    b"upload-checksum": (b"sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",),
    b"range": (b"bytes=0-1", b"bytes=9-"),
    b"if-match": (b"*",),
}
REQUESTS = [
    ("POST", "", (b"upload-length",)),
    ("POST", "/", (b"upload-length", b"content-type", b"content-length")),
    ("POST", "", (b"upload-concat",)),
    ("PATCH", "a", (b"upload-offset", b"content-type", b"content-length")),
    ("HEAD", "/a/", ()),
    ("GET", "a", (b"range",)),
    ("DELETE", "a", ()),
]


@st.composite
def heads(draw: st.DrawFn) -> Head:
    """A head that was meant well, with some headers more, fewer, or other than it takes."""
    method, path, needed = draw(st.sampled_from(REQUESTS))
    junk = st.binary(max_size=40)
    wanted = [b"tus-resumable", *needed, *draw(st.lists(st.sampled_from([*MEANT, *SINGLETONS, b"x"]), max_size=3))]
    headers = []
    for name in wanted:
        fate = draw(st.integers(0, 19))
        if fate:
            meant = st.sampled_from(MEANT[name]) if fate > 1 and name in MEANT else junk
            headers.append((name, draw(meant)))
    if draw(st.integers(0, 9)) == 0:
        method, path = draw(st.text(max_size=8)), draw(st.text(max_size=8))
    return Head(method=method, path=path, headers=Headers(headers))


def assert_sendable(response: Response) -> None:
    """No name or value that would end its line, and a length that is true."""
    assert 200 <= response.status <= 599
    for name, value in response.headers:
        assert re.fullmatch(rb"[a-z-]+", name)
        assert SENDABLE.fullmatch(value)
    lengths = [value for name, value in response.headers if name == b"content-length"]
    assert isinstance(response.body, bytes)
    assert lengths in ([], [b"%d" % len(response.body)])


def assert_sound(request: Request) -> None:
    """Numbers are in bounds, ids are ids, and what will be echoed is good."""
    if isinstance(request, Create):
        assert request.length is None or 0 <= request.length <= NUMBER_MAX
        assert all(is_upload_id(part) for part in request.parts)
        assert request.metadata_header != ""
        parse_metadata(request.metadata_header)
    elif isinstance(request, Discover):
        assert request.upload_id is None or is_upload_id(request.upload_id)
    else:
        assert is_upload_id(request.upload_id)
    if isinstance(request, Append):
        assert 0 <= request.offset <= NUMBER_MAX


@settings(deadline=None, max_examples=1000)
@given(heads(), st.sampled_from(PARSERS))
def test_any_head_is_parsed_or_refused(head: Head, parser: Parser) -> None:
    """The parser returns a valid request, or raises a ``TusError`` with 4xx or 501."""
    try:
        context = ResponseContext(effective_method(head), head.method)
    except TusError as error:
        assert_sendable(FORMATTER.format_refusal(error, ResponseContext(head.method, head.method)))
        return
    try:
        request = parser.parse(head)
    except TusError as error:
        assert 400 <= error.status < 500 or error.status == 501
        assert_sendable(FORMATTER.format_refusal(error, context))
        return
    assert_sound(request)
    if isinstance(request, Create):
        upload = Upload(
            id="a",
            kind=request.kind,
            length=request.length,
            metadata_header=request.metadata_header,
            concat_header=request.concat_header,
            created_at=NOW,
            updated_at=NOW,
        )
        assert_sendable(FORMATTER.format_outcome(Created(upload=upload, took_body=True), context, "/files/a"))
        inspected = FORMATTER.format_outcome(Inspected(upload=upload), ResponseContext("HEAD", "HEAD"))
        assert_sendable(inspected)
        for name in (b"upload-metadata", b"upload-concat"):
            echoed = dict(inspected.headers).get(name)
            assert (echoed or b"") == (head.headers.get_bytes(name) or b"").strip(b" \t")
    if isinstance(request, Download):
        try:
            select_range(request, Upload(id="a", length=9, offset=5, created_at=NOW, updated_at=NOW))
        except TusError as error:
            assert error.status in (412, 416)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from([*SINGLETONS]),
    st.binary(max_size=200),
    st.sampled_from([("POST", ""), ("PATCH", "a"), ("GET", "a")]),
)
def test_any_bytes_in_any_header(name: bytes, value: bytes, context: tuple[str, str]) -> None:
    """One header of junk among valid ones is accepted or refused with 4xx."""
    method, path = context
    good = {b"tus-resumable": b"1.0.0", b"upload-length": b"5", b"upload-offset": b"0", b"content-length": b"0"}
    head = Head(method=method, path=path, headers=Headers(list({**good, name: value}.items())))
    try:
        assert_sound(PARSERS[0].parse(head))
    except TusError as error:
        assert 400 <= error.status < 500


@settings(max_examples=300)
@given(heads())
def test_plain_creation_is_parsed_alike(head: Head) -> None:
    """``parse_plain_creation`` gives up, or returns or raises what ``parse`` does for a creation."""
    creation = Head(method="POST", path="", headers=head.headers)
    for parser in PARSERS:
        try:
            plain = parser.parse_plain_creation(head.headers)
        except TusError as refusal:
            with pytest.raises(type(refusal)):
                parser.parse(creation)
            continue
        assert plain is None or plain == parser.parse(creation)
