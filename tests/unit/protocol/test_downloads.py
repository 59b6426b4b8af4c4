"""The bytes and headers of responses to GET."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.downloads import (
    ByteRange,
    content_headers,
    format_disposition,
    format_etag,
    select_range,
    validator_headers,
)
from tusd_py.protocol.errors import PreconditionFailed, RangeNotSatisfiable
from tusd_py.protocol.metadata import format_metadata
from tusd_py.protocol.requests import Download

MADE = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
DONE = datetime(2026, 1, 1, 12, 0, 30, 250_000, tzinfo=UTC)
COMPLETE = Upload(
    id="a1",
    length=10,
    offset=10,
    created_at=MADE,
    updated_at=DONE + timedelta(hours=1),
    completed_at=DONE,
    status=Status.READY,
)
UNFINISHED = Upload(id="a1", length=10, offset=4, created_at=MADE, updated_at=DONE)
EMPTY = replace(COMPLETE, length=0, offset=0)
TAG = format_etag(COMPLETE)
WHOLE = ByteRange(0, 10, partial=False)
AT, BEFORE, AFTER = (f"Thu, 01 Jan 2026 12:00:{second} GMT" for second in (30, 29, 31))
SAFE = frozenset({"image/png", "text/plain"})


def get(upload: Upload = COMPLETE, **headers: str) -> ByteRange | None:
    return select_range(replace(Download(upload_id=upload.id), **headers), upload)


def described(**metadata: str | bytes) -> dict[str, str]:
    """The headers for an upload with this metadata."""
    values = {key: value.encode() if isinstance(value, str) else value for key, value in metadata.items()}
    upload = replace(COMPLETE, metadata_header=format_metadata(values) or None)
    return {name.decode(): value.decode() for name, value in content_headers(upload, SAFE)}


class TestRange:
    def test_no_range(self) -> None:
        """Without Range all stored bytes are sent."""
        assert get() == WHOLE
        assert get(UNFINISHED) == ByteRange(0, 4, partial=False)

    @pytest.mark.parametrize(
        ("header", "start", "stop"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=0-", 0, 10),
            ("bytes=3-6", 3, 7),
            ("bytes=9-9", 9, 10),
            ("bytes=5-999999999999999999999999", 5, 10),
            ("bytes=-3", 7, 10),
            ("bytes=-10", 0, 10),
            ("bytes=-99", 0, 10),
            ("Bytes= 3-6 ", 3, 7),
        ],
    )
    def test_one_range(self, header: str, start: int, stop: int) -> None:
        """First and last byte (both included), a suffix length, or an open end."""
        assert get(range=header) == ByteRange(start, stop, partial=True)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=6-3",
            "bytes=1 -3",
            "bytes=+1-3",
            "bytes=0-1,3-4",
            "bytes=0-1, -1",
            "lines=0-1",
            "bytes=٠-٣",
            "bytes=" + "1" * 5000 + "-",
        ],
    )
    def test_unsupported_range_is_ignored(self, header: str) -> None:
        """For several ranges, other units and junk everything is sent, as RFC 9110 allows."""
        assert get(range=header) == WHOLE

    @pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999-"])
    def test_beyond_the_end_416(self, header: str) -> None:
        """The error has the length, so that the client can request a valid range."""
        with pytest.raises(RangeNotSatisfiable, match="within 10 bytes"):
            get(range=header)

    def test_empty_upload(self) -> None:
        """An empty upload has no first byte; a suffix of it is the whole."""
        assert get(EMPTY, range="bytes=-5") == ByteRange(0, 0, partial=False)
        for header in ("bytes=0-", "bytes=-0"):
            with pytest.raises(RangeNotSatisfiable):
                get(EMPTY, range=header)

    def test_unfinished_upload(self) -> None:
        """Only stored bytes are sent."""
        assert get(UNFINISHED, range="bytes=2-9") == ByteRange(2, 4, partial=True)
        with pytest.raises(RangeNotSatisfiable, match="within 4 bytes"):
            get(UNFINISHED, range="bytes=4-")


class TestIfRange:
    @pytest.mark.parametrize("header", [TAG, AT])
    def test_if_range_matches(self, header: str) -> None:
        """The range is sent if the tag or the exact date is still that of the upload."""
        assert get(range="bytes=3-", if_range=header) == ByteRange(3, 10, partial=True)

    @pytest.mark.parametrize("header", ['"other"', f"W/{TAG}", BEFORE, AFTER, "junk", "", f"{TAG}, {TAG}"])
    def test_if_range_differs(self, header: str) -> None:
        """Otherwise everything is sent; weak tags never match."""
        assert get(range="bytes=3-", if_range=header) == WHOLE
        assert get(range="bytes=99-", if_range=header) == WHOLE

    def test_if_range_date_while_unfinished(self) -> None:
        """Two states within a second have the same date, so a date counts only after completion."""
        assert get(UNFINISHED, range="bytes=3-", if_range=AT) == ByteRange(0, 4, partial=False)
        assert get(UNFINISHED, range="bytes=3-", if_range=format_etag(UNFINISHED)) == ByteRange(3, 4, partial=True)

    def test_if_range_without_range(self) -> None:
        """If-Range has no effect without Range."""
        assert get(if_range='"other"') == WHOLE


class TestConditions:
    @pytest.mark.parametrize("header", ["*", TAG, f'"x", {TAG}', f'W/"x" ,{TAG}', f'"a,b", {TAG}'])
    def test_if_match(self, header: str) -> None:
        """One matching tag of the list is enough."""
        assert get(if_match=header) == WHOLE

    @pytest.mark.parametrize("header", ["", '"x"', f"W/{TAG}", TAG.strip('"'), "* ,"])
    def test_if_match_fails_412(self, header: str) -> None:
        """Weak tags do not match strongly."""
        with pytest.raises(PreconditionFailed):
            get(if_match=header)

    @pytest.mark.parametrize("header", ["*", TAG, f"W/{TAG}", f'"x", W/{TAG}'])
    def test_if_none_match_304(self, header: str) -> None:
        """The client already has the bytes; weak tags match weakly."""
        assert get(if_none_match=header) is None

    @pytest.mark.parametrize("header", ["", '"x"', 'W/"x"', "junk"])
    def test_if_none_match_other_tag(self, header: str) -> None:
        """Everything is sent."""
        assert get(if_none_match=header) == WHOLE

    def test_date_conditions(self) -> None:
        """Dates are compared in whole seconds, and invalid dates are ignored."""
        assert get(if_modified_since=AT) is None
        assert get(if_modified_since=AFTER) is None
        assert get(if_modified_since=BEFORE) == WHOLE
        assert get(if_modified_since="junk") == WHOLE
        assert get(if_unmodified_since=AT) == WHOLE
        assert get(if_unmodified_since=AFTER) == WHOLE
        assert get(if_unmodified_since="junk") == WHOLE
        with pytest.raises(PreconditionFailed):
            get(if_unmodified_since=BEFORE)

    def test_tags_take_precedence_over_dates(self) -> None:
        """With a tag the date is ignored (RFC 9110, 13.2.2)."""
        assert get(if_none_match='"x"', if_modified_since=AT) == WHOLE
        assert get(if_none_match=TAG, if_modified_since=BEFORE) is None
        assert get(if_match=TAG, if_unmodified_since=BEFORE) == WHOLE
        with pytest.raises(PreconditionFailed):
            get(if_match='"x"', if_unmodified_since=AT)

    def test_order_of_conditions(self) -> None:
        """A failed If-Match comes before 304, and 304 before a range."""
        with pytest.raises(PreconditionFailed):
            get(if_match='"x"', if_none_match=TAG)
        assert get(if_match=TAG, if_none_match=TAG, range="bytes=99-") is None


class TestValidators:
    def test_etag_of_each_state(self) -> None:
        """Each state has its own tag, and so has a later upload with the same id."""
        states = [
            UNFINISHED,
            replace(UNFINISHED, offset=5),
            COMPLETE,
            replace(COMPLETE, created_at=MADE + timedelta(microseconds=1)),
        ]
        assert len({format_etag(upload) for upload in states}) == len(states)

    def test_last_modified(self) -> None:
        """Later changes of the record of a complete upload do not change its date."""
        assert dict(validator_headers(COMPLETE))[b"last-modified"] == AT.encode()
        assert dict(validator_headers(COMPLETE))[b"etag"] == TAG.encode()
        assert dict(validator_headers(COMPLETE))[b"cache-control"] == b"private, no-cache"


class TestDescription:
    def test_inline_types(self) -> None:
        """Listed types are displayed inline, without their parameters and in a sandbox."""
        assert described(filetype="Image/PNG; x=y", filename="a.png") == {
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
            "content-type": "image/png",
            "content-security-policy": "sandbox",
            "content-disposition": 'inline; filename="a.png"',
        }

    @pytest.mark.parametrize(
        "filetype",
        [
            "",
            "text/html",
            "image/svg+xml",
            "png",
            "image/png\r\nX: y",
            "image/png, text/html",
            "é/é",
            b"\xff/\x00",
            "/",
        ],
    )
    def test_other_types_are_attachments(self, filetype: str | bytes) -> None:
        """All other types are sent as octet-stream attachments, whatever the client declared."""
        headers = described(filetype=filetype)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"] == "attachment"
        assert "content-security-policy" not in headers

    @pytest.mark.parametrize(
        ("filetype", "content_type"),
        [
            ("text/plain", "text/plain; charset=utf-8"),
            ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
            ("text/plain;charset=ISO-8859-1", "text/plain; charset=iso-8859-1"),
            ('text/plain; format=flowed; charset="UTF-8"', "text/plain; charset=utf-8"),
            ("text/plain; charset=", "text/plain; charset=utf-8"),
            ("text/plain; charset=a\r\nX: y", "text/plain; charset=utf-8"),
            ("text/plain; charset=é", "text/plain; charset=utf-8"),
            ("text/plain; charset=" + "x" * 50, "text/plain; charset=utf-8"),
            ("text/plain; xcharset=latin1", "text/plain; charset=utf-8"),
            ("image/png; charset=utf-8", "image/png"),
        ],
    )
    def test_text_has_a_charset(self, filetype: str, content_type: str) -> None:
        """The declared one, else UTF-8: without it Chromium displays UTF-8 as windows-1252."""
        assert described(filetype=filetype)["content-type"] == content_type

    def test_no_metadata(self) -> None:
        """There is no file name."""
        assert described()["content-disposition"] == "attachment"

    def test_filename_before_name(self) -> None:
        """Uppy sends both ``name`` and ``filename``; ``filename`` takes precedence."""
        assert described(name="b", filename="a")["content-disposition"] == 'attachment; filename="a"'
        assert described(name="b")["content-disposition"] == 'attachment; filename="b"'

    @pytest.mark.parametrize(
        ("name", "disposition"),
        [
            ("plain name.txt", 'filename="plain name.txt"'),
            ("naïve.txt", "filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
            ('a"b\\c.txt', 'filename="c.txt"'),
            ('a"b.txt', "filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
            ("100%.txt", "filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
            ("../../etc/passwd", 'filename="passwd"'),
            ("C:\\x\\y.exe", 'filename="y.exe"'),
            ("a\r\nSet-Cookie: x=y", 'filename="aSet-Cookie: x=y"'),
            ("9.41\u202fAM\u00a0\u3000.png", 'filename="9.41 AM  .png"'),
            ("\u2066gpj\u2069.exe", 'filename="gpj.exe"'),
            ("\u202egpj.exe", 'filename="gpj.exe"'),
            ("\x00\x1b[31m.txt", 'filename="[31m.txt"'),
            (" . hidden. ", 'filename="hidden"'),
            (b"\xff.txt", "filename=\"_.txt\"; filename*=UTF-8''%EF%BF%BD.txt"),
        ],
    )
    def test_hostile_names(self, name: str | bytes, disposition: str) -> None:
        """A name has no path, no line end and no invisible characters, and is quoted."""
        assert described(filename=name)["content-disposition"] == f"attachment; {disposition}"

    @pytest.mark.parametrize("name", ["", "..", "/", "a/", "\u202e", "\n"])
    def test_empty_names(self, name: str) -> None:
        """If no character is left, there is no file name."""
        assert described(filename=name)["content-disposition"] == "attachment"

    def test_long_names(self) -> None:
        """A name is no longer than file systems allow."""
        disposition = described(filename="ä" * 3000)["content-disposition"]
        assert disposition.count("%C3%A4") == 255
        assert (
            described(filename="x" * 300 + ".pdf")["content-disposition"] == f'attachment; filename="{"x" * 251}.pdf"'
        )


def test_format_disposition() -> None:
    """Any disposition with any name."""
    assert format_disposition("inline", "") == "inline"
    assert format_disposition("inline", "a") == 'inline; filename="a"'
