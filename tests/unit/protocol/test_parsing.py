"""From heads to requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.errors import (
    AmbiguousLength,
    ExtensionDisabled,
    FinalUploadModified,
    HeaderTooLarge,
    InvalidChecksum,
    InvalidConcat,
    InvalidDeferLength,
    InvalidLength,
    InvalidMetadata,
    InvalidOffset,
    InvalidParts,
    MalformedHeader,
    MethodNotAllowed,
    TooManyParts,
    TusError,
    UnsupportedAlgorithm,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UnsupportedTransferEncoding,
    UnsupportedVersion,
    UploadNotFound,
)
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.parsing import Parser, effective_method
from tusd_py.protocol.requests import (
    Append,
    BodyInfo,
    Create,
    Discover,
    Download,
    Head,
    Inspect,
    Request,
    Terminate,
)
from tusd_py.protocol.rules import Limits

Refusal = TypeVar("Refusal", bound=TusError)

PARSER = Parser(limits=Limits())
TRAILERS = Parser(limits=Limits(), trailers=True)
TUS_TYPE = "application/offset+octet-stream"
SHA1 = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="
HELLO_SHA1 = Checksum("sha1", bytes.fromhex("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"))
ALL_OFF = Limits(creation_with_upload=False, termination=False, concatenation=False, downloads=False)


def head(method: str, path: str = "", /, **headers: str | None) -> Head:
    """A head; ``upload_offset`` stands for Upload-Offset, and ``tus_resumable=None`` leaves the version out."""
    named = {"host": "tus.test", "tus_resumable": "1.0.0", **headers}
    fields = [
        (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in named.items() if value is not None
    ]
    return Head(method=method, path=path, headers=Headers(fields))


def parse(method: str, path: str = "", /, **headers: str | None) -> Request:
    return PARSER.parse(head(method, path, **headers))


def refused(refusal: type[Refusal], method: str, path: str = "", /, **headers: str | None) -> Refusal:
    """The refusal of this request, which must be of this very class."""
    return refused_by(PARSER, refusal, head(method, path, **headers))


def refused_by(parser: Parser, refusal: type[Refusal], asked: Head) -> Refusal:
    with pytest.raises(refusal) as caught:
        parser.parse(asked)
    assert type(caught.value) is refusal
    return caught.value


class TestMethods:
    def test_without_an_override(self) -> None:
        """The method is the one on the request line."""
        assert effective_method(head("PATCH", "a")) == "PATCH"
        assert effective_method(head("BREW", "a")) == "BREW"

    @pytest.mark.parametrize("value", ["HEAD", "PATCH", "DELETE", "POST", "OPTIONS", " PATCH\t", "patch"])
    def test_an_override(self, value: str) -> None:
        """It counts whatever the real method is."""
        for real in ("POST", "GET", "PUT", "DELETE", "HEAD"):
            assert effective_method(head(real, x_http_method_override=value)) == value.strip().upper()

    @pytest.mark.parametrize("value", ["", "GET", "PUT", "PATCH, PATCH", "ﬀ".encode().decode("latin-1")])
    def test_overrides_to_nothing_of_ours(self, value: str) -> None:
        """They are not allowed, rather than ignored."""
        with pytest.raises(MethodNotAllowed):
            effective_method(head("POST", x_http_method_override=value))

    def test_two_overrides(self) -> None:
        """Nobody knows which one is meant."""
        twice = [(b"x-http-method-override", b"PATCH")] * 2
        with pytest.raises(MalformedHeader, match="X-HTTP-Method-Override"):
            effective_method(Head(method="POST", path="", headers=Headers(twice)))

    def test_the_parser_obeys_it(self) -> None:
        """A POST that says DELETE is a DELETE."""
        assert parse("POST", "a", x_http_method_override="DELETE") == Terminate(upload_id="a")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "PUT", "BREW"])
    def test_the_collection_takes_post_and_options(self, method: str) -> None:
        """Everything else is refused with what is allowed."""
        assert refused(MethodNotAllowed, method).allowed == ("POST", "OPTIONS")

    @pytest.mark.parametrize("method", ["POST", "PUT", "BREW"])
    def test_what_an_upload_takes(self, method: str) -> None:
        """Everything that is switched on, and nothing else."""
        assert refused(MethodNotAllowed, method, "a").allowed == ("HEAD", "PATCH", "DELETE", "GET", "OPTIONS")
        off = Parser(limits=ALL_OFF)
        for closed in (method, "DELETE", "GET"):
            assert refused_by(off, MethodNotAllowed, head(closed, "a")).allowed == ("HEAD", "PATCH", "OPTIONS")


class TestVersion:
    @pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PATCH", "a"), ("DELETE", "a")])
    def test_who_changes_something_must_say_it(self, method: str, path: str) -> None:
        """Without Tus-Resumable nothing is created, appended or terminated."""
        with pytest.raises(UnsupportedVersion, match="is missing"):
            parse(method, path, tus_resumable=None)

    def test_who_reads_need_not(self) -> None:
        """HEAD and GET work without: a browser that downloads does not know of tus."""
        assert parse("HEAD", "a", tus_resumable=None) == Inspect(upload_id="a")
        assert parse("GET", "a", tus_resumable=None) == Download(upload_id="a")

    @pytest.mark.parametrize("version", ["", "0.2.2", "1.0", "1.0.0, 1.0.0", "1.0.0\x80"])
    @pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "GET", "BREW"])
    def test_another_one_is_refused_first(self, method: str, version: str) -> None:
        """Whatever else is wrong: "the Server MUST NOT process the request"."""
        with pytest.raises(UnsupportedVersion, match="not supported"):
            parse(method, "no/id", tus_resumable=version)

    def test_two_versions(self) -> None:
        """Even the same one twice is malformed."""
        doubled = head("HEAD", "a")
        with pytest.raises(MalformedHeader, match="Tus-Resumable"):
            PARSER.parse(replace(doubled, headers=Headers([*doubled.headers.raw, *doubled.headers.raw])))

    def test_options_ignores_it(self) -> None:
        """ "The Server MUST ignore the header" in OPTIONS."""
        assert parse("OPTIONS", tus_resumable="9.9.9") == Discover(upload_id=None)
        assert parse("OPTIONS", "a", tus_resumable=None) == Discover(upload_id="a")


class TestPaths:
    @pytest.mark.parametrize("path", ["a", "/a", "/a/", "a/"])
    def test_a_slash_more_or_less(self, path: str) -> None:
        """It is the same upload."""
        assert parse("HEAD", path) == Inspect(upload_id="a", length_completes=True)

    @pytest.mark.parametrize("path", ["", "/"])
    def test_the_collection(self, path: str) -> None:
        """With and without a slash."""
        assert parse("POST", path, upload_length="5") == Create(length=5)

    @pytest.mark.parametrize("path", ["//", "a/b", "/a//", "..", "a.b", "\x00", "a\n", "é"])
    @pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET", "POST"])
    def test_nothing_can_be_there(self, path: str, method: str) -> None:
        """Paths with anything but an id name no upload."""
        refused(UploadNotFound, method, path)

    def test_options_answers_everywhere(self) -> None:
        """A browser that asks first about a bad URL shall then see the 404, not a network error."""
        assert parse("OPTIONS", "a/b") == Discover(upload_id=None)


class TestCreate:
    def test_with_a_length(self) -> None:
        """No body is stored without the type that says so."""
        assert parse("POST", upload_length="0", content_length="3", content_type="text/plain") == Create(length=0)

    def test_deferred(self) -> None:
        """The length comes later."""
        assert parse("POST", upload_defer_length="1") == Create(length=None)

    @pytest.mark.parametrize("value", ["", "0", "01", "2", "true"])
    def test_deferred_otherwise(self, value: str) -> None:
        """ "Its value MUST be 1"."""
        refused(InvalidDeferLength, "POST", upload_defer_length=value)

    def test_lengths_that_are_none(self) -> None:
        """Missing, malformed, or two at once."""
        assert "Upload-Defer-Length: 1" in str(refused(InvalidLength, "POST"))
        refused(InvalidLength, "POST", upload_length="-1")
        refused(AmbiguousLength, "POST", upload_length="5", upload_defer_length="1")

    def test_metadata_is_kept_as_it_came(self) -> None:
        """Byte for byte, but only if it is good; an empty header is none."""
        request = parse("POST", upload_length="5", upload_metadata="b /w==, a ")
        assert isinstance(request, Create)
        assert request.metadata_header == "b /w==, a"
        assert parse("POST", upload_length="5", upload_metadata="") == Create(length=5)
        refused(InvalidMetadata, "POST", upload_length="5", upload_metadata="a b")

    def test_metadata_has_a_limit(self) -> None:
        """The header has at most so many bytes, whatever it says."""
        parser = Parser(limits=Limits(metadata_bytes_max=6))
        parser.parse(head("POST", upload_length="5", upload_metadata="a YQ=="))
        larger = head("POST", upload_length="5", upload_metadata="ab YQ==")
        assert refused_by(parser, HeaderTooLarge, larger).bytes_max == 6

    @pytest.mark.parametrize("media_type", [TUS_TYPE, "Application/Offset+Octet-Stream; charset=x"])
    def test_with_a_body(self, media_type: str) -> None:
        """The tus type, in any case and with any parameters, makes the body the upload's first bytes."""
        request = parse("POST", upload_length="5", content_type=media_type, content_length="3")
        assert request == Create(length=5, body=BodyInfo(length=3))
        chunked = parse("POST", upload_length="5", content_type=media_type, transfer_encoding="chunked")
        assert chunked == Create(length=5, body=BodyInfo(length=None))

    def test_with_a_body_and_a_checksum(self) -> None:
        """Creation With Upload: similar rules as PATCH."""
        headers = {"content_type": TUS_TYPE, "content_length": "5", "upload_checksum": SHA1}
        request = parse("POST", upload_length="5", **headers)
        assert request == Create(length=5, body=BodyInfo(length=5, checksum=HELLO_SHA1))

    def test_bodies_that_cannot_be_stored(self) -> None:
        """Encoded ones, and parts of something."""
        refused(UnsupportedContentEncoding, "POST", upload_length="5", content_type=TUS_TYPE, content_encoding="gzip")
        refused(MalformedHeader, "POST", upload_length="5", content_range="bytes 0-4/5")
        refused(UnsupportedTransferEncoding, "POST", upload_length="5", transfer_encoding="gzip")

    def test_a_body_where_the_extension_is_off(self) -> None:
        """It is ignored, as by a server that has never heard of it."""
        off = Parser(limits=ALL_OFF)
        asked = head("POST", upload_length="5", content_type=TUS_TYPE, content_length="5")
        assert off.parse(asked) == Create(length=5)

    def test_a_repeated_header(self) -> None:
        """Two lengths are refused, even equal ones."""
        doubled = head("POST", upload_length="5")
        with pytest.raises(InvalidLength, match="more than once"):
            PARSER.parse(replace(doubled, headers=Headers([*doubled.headers.raw, (b"upload-length", b"5")])))


class TestConcat:
    def test_partial(self) -> None:
        """A partial upload is like any other, and is told as it came."""
        request = parse("POST", upload_concat="partial", upload_length="5", content_type=TUS_TYPE, content_length="2")
        body = BodyInfo(length=2)
        assert request == Create(length=5, kind=Kind.PARTIAL, concat_header="partial", body=body)
        assert parse("POST", upload_concat="partial", upload_defer_length="1") == Create(
            length=None, kind=Kind.PARTIAL, concat_header="partial"
        )
        refused(InvalidLength, "POST", upload_concat="partial")

    def test_final(self) -> None:
        """It needs no length; one that is sent is kept, to be compared with the sum."""
        header = "final;/files/b http://tus.test/files/a"
        expected = Create(length=None, kind=Kind.FINAL, concat_header=header, parts=("b", "a"))
        assert parse("POST", upload_concat=header) == expected
        assert parse("POST", upload_concat=header, content_length="0", content_type=TUS_TYPE) == expected
        assert parse("POST", upload_concat=header, upload_length="9") == replace(expected, length=9)

    @pytest.mark.parametrize("framing", [{"content_length": "1"}, {"transfer_encoding": "chunked"}])
    def test_a_final_upload_has_no_body(self, framing: dict[str, str]) -> None:
        """Nothing is created where bytes would be lost."""
        refused(FinalUploadModified, "POST", upload_concat="final;/files/a", **framing)
        refused(FinalUploadModified, "POST", upload_concat="final;/files/a", content_type=TUS_TYPE, **framing)

    def test_what_is_refused(self) -> None:
        """Other words, other places, too many or too much."""
        refused(InvalidConcat, "POST", upload_concat="", upload_length="5")
        refused(InvalidParts, "POST", upload_concat="final;/other/a")
        small = Parser(limits=Limits(parts_max=1, concat_bytes_max=20))
        refused_by(small, TooManyParts, head("POST", upload_concat="final;a b"))
        refused_by(small, HeaderTooLarge, head("POST", upload_concat="final;/files/aaaaaaaa"))
        refused_by(Parser(limits=ALL_OFF), ExtensionDisabled, head("POST", upload_concat="partial", upload_length="5"))

    def test_where_the_collection_is(self) -> None:
        """Under any of its names, also the one by which this request found it, and on its own hosts."""
        parser = Parser(limits=Limits(), base_paths=("/a/",), hosts=("tus.test",))
        concat = head("POST", upload_concat="final;http://tus.test/a/x /b/y")
        with pytest.raises(InvalidParts):
            parser.parse(concat)
        request = parser.parse(concat, base_path="/b/")
        assert isinstance(request, Create)
        assert request.parts == ("x", "y")
        refused_by(parser, InvalidParts, head("POST", upload_concat="final;http://evil.test/a/x"))


class TestAppend:
    def test_bytes_at_an_offset(self) -> None:
        """With a length where that was deferred."""
        headers = {"upload_offset": "3", "content_type": TUS_TYPE}
        body = BodyInfo(length=2)
        assert parse("PATCH", "a", content_length="2", **headers) == Append(
            upload_id="a", offset=3, length=None, body=body
        )
        request = parse("PATCH", "a", transfer_encoding="chunked", upload_length="5", **headers)
        assert request == Append(upload_id="a", offset=3, length=5, body=BodyInfo(length=None))

    def test_numbers_that_are_none(self) -> None:
        """An offset is needed; a length must be one."""
        refused(InvalidOffset, "PATCH", "a", content_type=TUS_TYPE)
        refused(InvalidOffset, "PATCH", "a", content_type=TUS_TYPE, upload_offset="-0")
        refused(InvalidLength, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", upload_length="x")
        refused(MalformedHeader, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", content_length="x")
        refused(MalformedHeader, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", content_range="bytes 0-1/2")

    @pytest.mark.parametrize("method", ["PATCH", "HEAD", "DELETE", "GET"])
    def test_a_repeated_header(self, method: str) -> None:
        """Two offsets are refused, even equal ones, whatever is asked of the upload."""
        once = head(method, "a", upload_offset="0", content_type=TUS_TYPE)
        with pytest.raises(InvalidOffset, match="more than once"):
            PARSER.parse(replace(once, headers=Headers([*once.headers.raw, (b"upload-offset", b"0")])))

    @pytest.mark.parametrize("media_type", [{}, {"content_type": ""}, {"content_type": "text/plain"}])
    def test_another_type_waits(self, media_type: dict[str, str]) -> None:
        """A final upload is 403 and an unknown one 404 whatever the type, so the refusal comes with the request."""
        request = parse("PATCH", "a", upload_offset="0", **media_type)
        assert isinstance(request, Append)
        assert isinstance(request.unsupported, UnsupportedContentType)

    @pytest.mark.parametrize("encoding", ["gzip", "BR", "identity, gzip"])
    def test_an_encoding_waits(self, encoding: str) -> None:
        """Bytes are stored as they come, so that offsets mean the same to both sides."""
        request = parse("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, content_encoding=encoding)
        assert isinstance(request, Append)
        assert isinstance(request.unsupported, UnsupportedContentEncoding)

    @pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
    def test_no_encoding(self, encoding: str) -> None:
        """Saying that there is none is allowed."""
        request = parse("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, content_encoding=encoding)
        assert isinstance(request, Append)
        assert request.unsupported is None


class TestChecksum:
    def append(self, parser: Parser = PARSER, **headers: str) -> Append:
        request = parser.parse(head("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, **headers))
        assert isinstance(request, Append)
        return request

    def test_in_a_header(self) -> None:
        """The body counts only if this is its digest."""
        assert self.append(upload_checksum=SHA1).body == BodyInfo(length=None, checksum=HELLO_SHA1)

    def test_refused(self) -> None:
        """Malformed ones, and algorithms that are not offered here."""
        for parser, header, refusal in (
            (PARSER, "sha1", InvalidChecksum),
            (PARSER, "sha3 YQ==", UnsupportedAlgorithm),
            (Parser(limits=Limits(), algorithms=("md5",)), SHA1, UnsupportedAlgorithm),
        ):
            with pytest.raises(refusal):
                self.append(parser, upload_checksum=header)

    def test_in_a_trailer(self) -> None:
        """It must be declared, among others maybe."""
        body = BodyInfo(length=None, checksum_in_trailer=True)
        assert self.append(TRAILERS, trailer="X-Other , upload-CHECKSUM").body == body
        assert self.append(TRAILERS, trailer="X-Other").body == BodyInfo(length=None)

    def test_in_both(self) -> None:
        """Nobody knows which one is meant."""
        with pytest.raises(InvalidChecksum, match="not both"):
            self.append(TRAILERS, trailer="Upload-Checksum", upload_checksum=SHA1)

    def test_in_a_trailer_that_will_not_arrive(self) -> None:
        """Where the HTTP server drops trailers the request is refused: its bytes would be stored unverified."""
        with pytest.raises(ExtensionDisabled, match="checksum-trailer"):
            self.append(trailer="Upload-Checksum")


def test_download() -> None:
    """Conditions are handed on as they came, lists joined."""
    conditions = {
        "range": "bytes=0-1",
        "if_range": '"a"',
        "if_none_match": '"b"',
        "if_match": "*",
        "if_modified_since": "x",
        "if_unmodified_since": "y",
    }
    assert parse("GET", "a", **conditions) == Download(
        upload_id="a",
        range="bytes=0-1",
        if_range='"a"',
        if_none_match='"b"',
        if_match="*",
        if_modified_since="x",
        if_unmodified_since="y",
    )
