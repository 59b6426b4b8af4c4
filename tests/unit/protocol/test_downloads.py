"""Which bytes a GET is given, and under which headers."""

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
    def test_without_one(self) -> None:
        """All that is stored is given."""
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
        """The bytes named, both ends included on the wire; the last so many; or those from one on."""
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
    def test_what_is_none(self, header: str) -> None:
        """Several ranges, other units and junk: everything is given, as RFC 9110 allows."""
        assert get(range=header) == WHOLE

    @pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999-"])
    def test_beyond_the_end(self, header: str) -> None:
        """Refused with the length, from which the client can go on."""
        with pytest.raises(RangeNotSatisfiable, match="within 10 bytes"):
            get(range=header)

    def test_of_nothing(self) -> None:
        """An empty upload has no first byte, and its last bytes are all of it."""
        assert get(EMPTY, range="bytes=-5") == ByteRange(0, 0, partial=False)
        for header in ("bytes=0-", "bytes=-0"):
            with pytest.raises(RangeNotSatisfiable):
                get(EMPTY, range=header)

    def test_of_an_unfinished_upload(self) -> None:
        """Only what is stored can be had."""
        assert get(UNFINISHED, range="bytes=2-9") == ByteRange(2, 4, partial=True)
        with pytest.raises(RangeNotSatisfiable, match="within 4 bytes"):
            get(UNFINISHED, range="bytes=4-")


class TestIfRange:
    @pytest.mark.parametrize("header", [TAG, AT])
    def test_still_the_same(self, header: str) -> None:
        """The part is given where the tag, or the very date, is still that of the upload."""
        assert get(range="bytes=3-", if_range=header) == ByteRange(3, 10, partial=True)

    @pytest.mark.parametrize("header", ['"other"', f"W/{TAG}", BEFORE, AFTER, "junk", "", f"{TAG}, {TAG}"])
    def test_no_longer(self, header: str) -> None:
        """Otherwise everything; weak tags never match."""
        assert get(range="bytes=3-", if_range=header) == WHOLE
        assert get(range="bytes=99-", if_range=header) == WHOLE

    def test_a_date_while_it_grows(self) -> None:
        """Two states within a second have the same date, so it proves nothing until the end."""
        assert get(UNFINISHED, range="bytes=3-", if_range=AT) == ByteRange(0, 4, partial=False)
        assert get(UNFINISHED, range="bytes=3-", if_range=format_etag(UNFINISHED)) == ByteRange(3, 4, partial=True)

    def test_alone(self) -> None:
        """Without a range it says nothing."""
        assert get(if_range='"other"') == WHOLE


class TestConditions:
    @pytest.mark.parametrize("header", ["*", TAG, f'"x", {TAG}', f'W/"x" ,{TAG}', f'"a,b", {TAG}'])
    def test_if_match_holds(self, header: str) -> None:
        """One tag of the list is enough."""
        assert get(if_match=header) == WHOLE

    @pytest.mark.parametrize("header", ["", '"x"', f"W/{TAG}", TAG.strip('"'), "* ,"])
    def test_if_match_fails(self, header: str) -> None:
        """Weak tags do not match strongly."""
        with pytest.raises(PreconditionFailed):
            get(if_match=header)

    @pytest.mark.parametrize("header", ["*", TAG, f"W/{TAG}", f'"x", W/{TAG}'])
    def test_if_none_match_has_it(self, header: str) -> None:
        """The client has it already; weak tags match weakly."""
        assert get(if_none_match=header) is None

    @pytest.mark.parametrize("header", ["", '"x"', 'W/"x"', "junk"])
    def test_if_none_match_has_another(self, header: str) -> None:
        """It is given."""
        assert get(if_none_match=header) == WHOLE

    def test_dates(self) -> None:
        """Whole seconds count, and what is no date is ignored."""
        assert get(if_modified_since=AT) is None
        assert get(if_modified_since=AFTER) is None
        assert get(if_modified_since=BEFORE) == WHOLE
        assert get(if_modified_since="junk") == WHOLE
        assert get(if_unmodified_since=AT) == WHOLE
        assert get(if_unmodified_since=AFTER) == WHOLE
        assert get(if_unmodified_since="junk") == WHOLE
        with pytest.raises(PreconditionFailed):
            get(if_unmodified_since=BEFORE)

    def test_tags_come_before_dates(self) -> None:
        """Where there is a tag, the date is not looked at (RFC 9110, 13.2.2)."""
        assert get(if_none_match='"x"', if_modified_since=AT) == WHOLE
        assert get(if_none_match=TAG, if_modified_since=BEFORE) is None
        assert get(if_match=TAG, if_unmodified_since=BEFORE) == WHOLE
        with pytest.raises(PreconditionFailed):
            get(if_match='"x"', if_unmodified_since=AT)

    def test_the_order(self) -> None:
        """A failed If-Match comes before 304, and 304 before any range."""
        with pytest.raises(PreconditionFailed):
            get(if_match='"x"', if_none_match=TAG)
        assert get(if_match=TAG, if_none_match=TAG, range="bytes=99-") is None


class TestValidators:
    def test_the_tag_grows_with_the_upload(self) -> None:
        """Each state has a tag of its own, and so has another upload that is given the same id later."""
        states = [
            UNFINISHED,
            replace(UNFINISHED, offset=5),
            COMPLETE,
            replace(COMPLETE, created_at=MADE + timedelta(microseconds=1)),
        ]
        assert len({format_etag(upload) for upload in states}) == len(states)

    def test_the_date_is_that_of_the_bytes(self) -> None:
        """What happened to a complete upload later does not change its bytes."""
        assert dict(validator_headers(COMPLETE))[b"last-modified"] == AT.encode()
        assert dict(validator_headers(COMPLETE))[b"etag"] == TAG.encode()
        assert dict(validator_headers(COMPLETE))[b"cache-control"] == b"private, no-cache"


class TestDescription:
    def test_of_what_may_be_shown(self) -> None:
        """Types on the list are shown, without their parameters, and without any rights."""
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
    def test_of_everything_else(self, filetype: str | bytes) -> None:
        """It is saved, not shown, whatever the client called it."""
        headers = described(filetype=filetype)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"] == "attachment"
        assert "content-security-policy" not in headers

    def test_without_metadata(self) -> None:
        """There is no name to tell."""
        assert described()["content-disposition"] == "attachment"

    def test_the_name(self) -> None:
        """Uppy says name as well as filename; the latter counts."""
        assert described(name="b", filename="a")["content-disposition"] == 'attachment; filename="a"'
        assert described(name="b")["content-disposition"] == 'attachment; filename="b"'

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("plain name.txt", 'filename="plain name.txt"'),
            ("naïve.txt", "filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
            ('a"b\\c.txt', 'filename="c.txt"'),
            ('a"b.txt', "filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
            ("100%.txt", "filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
            ("../../etc/passwd", 'filename="passwd"'),
            ("C:\\x\\y.exe", 'filename="y.exe"'),
            ("a\r\nSet-Cookie: x=y", 'filename="aSet-Cookie: x=y"'),
            ("\u202egpj.exe", 'filename="gpj.exe"'),
            ("\x00\x1b[31m.txt", 'filename="[31m.txt"'),
            (" . hidden. ", 'filename="hidden"'),
            (b"\xff.txt", "filename=\"_.txt\"; filename*=UTF-8''%EF%BF%BD.txt"),
        ],
    )
    def test_hostile_names(self, name: str | bytes, told: str) -> None:
        """A name is a name: no path, no line end, nothing invisible, quoted for every reader."""
        assert described(filename=name)["content-disposition"] == f"attachment; {told}"

    @pytest.mark.parametrize("name", ["", "..", "/", "a/", "\u202e", "\n"])
    def test_names_of_nothing(self, name: str) -> None:
        """Where nothing is left, no name is told."""
        assert described(filename=name)["content-disposition"] == "attachment"

    def test_long_names(self) -> None:
        """No name is longer than file systems take."""
        told = described(filename="ä" * 3000)["content-disposition"]
        assert told.count("%C3%A4") == 255


def test_formatting_a_disposition() -> None:
    """Any disposition, any name."""
    assert format_disposition("inline", "") == "inline"
    assert format_disposition("inline", "a") == 'inline; filename="a"'
