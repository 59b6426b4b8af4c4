"""Parsing heads of tus 1.0 requests."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from tusd_py.model.upload import Kind
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.concat_errors import (
    FinalUploadModified,
    InvalidParts,
    TooManyParts,
)
from tusd_py.protocol.errors import (
    AmbiguousLength,
    ExtensionDisabled,
    HeaderTooLarge,
    InvalidChecksum,
    InvalidConcat,
    InvalidDeferLength,
    InvalidLength,
    InvalidMetadata,
    InvalidOffset,
    MalformedHeader,
    MethodNotAllowed,
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


def refused_by(parser: Parser, refusal: type[Refusal], context: Head) -> Refusal:
    with pytest.raises(refusal) as caught:
        parser.parse(context)
    assert type(caught.value) is refusal
    return caught.value


class TestMethods:
    def test_no_override(self) -> None:
        """The method is the one on the request line."""
        assert effective_method(head("PATCH", "a")) == "PATCH"
        assert effective_method(head("BREW", "a")) == "BREW"

    @pytest.mark.parametrize("value", ["HEAD", "PATCH", "DELETE", "POST", "OPTIONS", " PATCH\t", "patch"])
    def test_method_override_takes_precedence(self, value: str) -> None:
        """The override takes precedence over the real method."""
        for real in ("POST", "GET", "PUT", "DELETE", "HEAD"):
            assert effective_method(head(real, x_http_method_override=value)) == value.strip().upper()

    @pytest.mark.parametrize("value", ["", "GET", "PUT", "PATCH, PATCH", "ﬀ".encode().decode("latin-1")])
    def test_unknown_override_405(self, value: str) -> None:
        """Unknown methods are refused, not ignored."""
        with pytest.raises(MethodNotAllowed):
            effective_method(head("POST", x_http_method_override=value))

    def test_two_overrides_400(self) -> None:
        """Two overrides are ambiguous."""
        twice = [(b"x-http-method-override", b"PATCH")] * 2
        with pytest.raises(MalformedHeader, match="X-HTTP-Method-Override"):
            effective_method(Head(method="POST", path="", headers=Headers(twice)))

    def test_parser_obeys_override(self) -> None:
        """A POST with the override DELETE is a DELETE."""
        assert parse("POST", "a", x_http_method_override="DELETE") == Terminate(upload_id="a")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "PUT", "BREW"])
    def test_collection_methods_405(self, method: str) -> None:
        """Other methods are refused, and the error lists the allowed ones."""
        assert refused(MethodNotAllowed, method).allowed == ("POST", "OPTIONS")

    @pytest.mark.parametrize("method", ["POST", "PUT", "BREW"])
    def test_upload_methods_405(self, method: str) -> None:
        """Only enabled methods are allowed."""
        assert refused(MethodNotAllowed, method, "a").allowed == ("HEAD", "PATCH", "DELETE", "GET", "OPTIONS")
        off = Parser(limits=ALL_OFF)
        for closed in (method, "DELETE", "GET"):
            assert refused_by(off, MethodNotAllowed, head(closed, "a")).allowed == ("HEAD", "PATCH", "OPTIONS")


class TestVersion:
    @pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PATCH", "a"), ("DELETE", "a")])
    def test_missing_version_412(self, method: str, path: str) -> None:
        """Requests that change something need Tus-Resumable."""
        with pytest.raises(UnsupportedVersion, match="is missing"):
            parse(method, path, tus_resumable=None)

    def test_missing_version_on_reads(self) -> None:
        """HEAD and GET work without: a browser that downloads does not know tus."""
        assert parse("HEAD", "a", tus_resumable=None) == Inspect(upload_id="a")
        assert parse("GET", "a", tus_resumable=None) == Download(upload_id="a")

    @pytest.mark.parametrize("version", ["", "0.2.2", "1.0", "1.0.0, 1.0.0", "1.0.0\x80"])
    @pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "GET", "BREW"])
    def test_unsupported_version_412(self, method: str, version: str) -> None:
        """It takes precedence over every other fault: "the Server MUST NOT process the request"."""
        with pytest.raises(UnsupportedVersion, match="not supported"):
            parse(method, "no/id", tus_resumable=version)

    def test_two_versions_400(self) -> None:
        """Even the same version twice is malformed."""
        doubled = head("HEAD", "a")
        with pytest.raises(MalformedHeader, match="Tus-Resumable"):
            PARSER.parse(replace(doubled, headers=Headers([*doubled.headers.raw, *doubled.headers.raw])))

    def test_options_ignores_version(self) -> None:
        """ "The Server MUST ignore the header" in OPTIONS."""
        assert parse("OPTIONS", tus_resumable="9.9.9") == Discover(upload_id=None)
        assert parse("OPTIONS", "a", tus_resumable=None) == Discover(upload_id="a")


class TestPaths:
    @pytest.mark.parametrize("path", ["a", "/a", "/a/", "a/", "//a", "a//"])
    def test_slashes_around_the_id_do_not_change_the_upload(self, path: str) -> None:
        """Slashes before and after the id do not change the upload."""
        assert parse("HEAD", path) == Inspect(upload_id="a", length_completes=True)

    @pytest.mark.parametrize("path", ["", "/", "//"])
    def test_collection(self, path: str) -> None:
        """With and without slashes."""
        assert parse("POST", path, upload_length="5") == Create(length=5)

    @pytest.mark.parametrize("path", ["a/b", "a//b", "..", "a.b", "\x00", "a\n", "é"])
    @pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET", "POST"])
    def test_invalid_id_404(self, path: str, method: str) -> None:
        """A path that is not an id is no upload."""
        refused(UploadNotFound, method, path)

    def test_options_on_any_path(self) -> None:
        """A browser with a wrong URL must see the 404 of its request, not a failed preflight."""
        assert parse("OPTIONS", "a/b") == Discover(upload_id=None)


class TestCreate:
    def test_length(self) -> None:
        """A body without the tus type is not stored."""
        assert parse("POST", upload_length="0", content_length="3", content_type="text/plain") == Create(length=0)

    def test_deferred_length(self) -> None:
        """The length follows later."""
        assert parse("POST", upload_defer_length="1") == Create(length=None)

    @pytest.mark.parametrize("value", ["", "0", "01", "2", "true"])
    def test_invalid_deferral_400(self, value: str) -> None:
        """ "Its value MUST be 1"."""
        refused(InvalidDeferLength, "POST", upload_defer_length=value)

    def test_invalid_length_400(self) -> None:
        """Missing, malformed, or both headers at once."""
        assert "Upload-Defer-Length: 1" in str(refused(InvalidLength, "POST"))
        refused(InvalidLength, "POST", upload_length="-1")
        refused(AmbiguousLength, "POST", upload_length="5", upload_defer_length="1")

    def test_metadata_is_kept(self) -> None:
        """Valid metadata is kept byte for byte; an empty header counts as absent."""
        request = parse("POST", upload_length="5", upload_metadata="b /w==, a ")
        assert isinstance(request, Create)
        assert request.metadata_header == "b /w==, a"
        assert parse("POST", upload_length="5", upload_metadata="") == Create(length=5)
        refused(InvalidMetadata, "POST", upload_length="5", upload_metadata="a b")

    def test_metadata_too_large_431(self) -> None:
        """The size of the header is limited."""
        parser = Parser(limits=Limits(metadata_bytes_max=6))
        parser.parse(head("POST", upload_length="5", upload_metadata="a YQ=="))
        larger = head("POST", upload_length="5", upload_metadata="ab YQ==")
        assert refused_by(parser, HeaderTooLarge, larger).bytes_max == 6

    @pytest.mark.parametrize("media_type", [TUS_TYPE, "Application/Offset+Octet-Stream; charset=x"])
    def test_body(self, media_type: str) -> None:
        """With the tus type, in any case and with any parameters, the body is the first bytes of the upload."""
        request = parse("POST", upload_length="5", content_type=media_type, content_length="3")
        assert request == Create(length=5, body=BodyInfo(length=3))
        chunked = parse("POST", upload_length="5", content_type=media_type, transfer_encoding="chunked")
        assert chunked == Create(length=5, body=BodyInfo(length=None))

    def test_body_with_checksum(self) -> None:
        """Creation With Upload: the same rules as for PATCH."""
        headers = {"content_type": TUS_TYPE, "content_length": "5", "upload_checksum": SHA1}
        request = parse("POST", upload_length="5", **headers)
        assert request == Create(length=5, body=BodyInfo(length=5, checksum=HELLO_SHA1))

    def test_unsupported_body(self) -> None:
        """Encoded bodies and bodies with Content-Range are refused."""
        refused(UnsupportedContentEncoding, "POST", upload_length="5", content_type=TUS_TYPE, content_encoding="gzip")
        refused(MalformedHeader, "POST", upload_length="5", content_range="bytes 0-4/5")
        refused(UnsupportedTransferEncoding, "POST", upload_length="5", transfer_encoding="gzip")

    def test_body_with_extension_disabled(self) -> None:
        """The body is ignored, as by a server without the extension."""
        off = Parser(limits=ALL_OFF)
        context = head("POST", upload_length="5", content_type=TUS_TYPE, content_length="5")
        assert off.parse(context) == Create(length=5)

    def test_repeated_header_400(self) -> None:
        """Two lengths are refused, even equal ones."""
        doubled = head("POST", upload_length="5")
        with pytest.raises(InvalidLength, match="more than once"):
            PARSER.parse(replace(doubled, headers=Headers([*doubled.headers.raw, (b"upload-length", b"5")])))


class TestConcat:
    def test_partial(self) -> None:
        """A partial upload is parsed like any other, and its header is kept."""
        request = parse("POST", upload_concat="partial", upload_length="5", content_type=TUS_TYPE, content_length="2")
        body = BodyInfo(length=2)
        assert request == Create(length=5, kind=Kind.PARTIAL, concat_header="partial", body=body)
        assert parse("POST", upload_concat="partial", upload_defer_length="1") == Create(
            length=None, kind=Kind.PARTIAL, concat_header="partial"
        )
        refused(InvalidLength, "POST", upload_concat="partial")

    def test_final(self) -> None:
        """A final upload needs no length; a length is kept for comparison with the sum."""
        header = "final;/files/b http://tus.test/files/a"
        expected = Create(length=None, kind=Kind.FINAL, concat_header=header, parts=("b", "a"))
        assert parse("POST", upload_concat=header) == expected
        assert parse("POST", upload_concat=header, content_length="0", content_type=TUS_TYPE) == expected
        assert parse("POST", upload_concat=header, upload_length="9") == replace(expected, length=9)

    @pytest.mark.parametrize("framing", [{"content_length": "1"}, {"transfer_encoding": "chunked"}])
    def test_final_with_body_403(self, framing: dict[str, str]) -> None:
        """Nothing is created, because the bytes would be lost."""
        refused(FinalUploadModified, "POST", upload_concat="final;/files/a", **framing)
        refused(FinalUploadModified, "POST", upload_concat="final;/files/a", content_type=TUS_TYPE, **framing)

    def test_invalid_concat(self) -> None:
        """Unknown keywords, foreign URLs, too many parts, and a header that is too long."""
        refused(InvalidConcat, "POST", upload_concat="", upload_length="5")
        refused(InvalidParts, "POST", upload_concat="final;/other/a")
        small = Parser(limits=Limits(parts_max=1, concat_bytes_max=20))
        refused_by(small, TooManyParts, head("POST", upload_concat="final;a b"))
        refused_by(small, HeaderTooLarge, head("POST", upload_concat="final;/files/aaaaaaaa"))
        refused_by(Parser(limits=ALL_OFF), ExtensionDisabled, head("POST", upload_concat="partial", upload_length="5"))

    def test_paths_of_the_collection(self) -> None:
        """Each path of the collection is accepted, also that of this request, on allowed hosts."""
        parser = Parser(limits=Limits(), base_paths=("/a/",), hosts=("tus.test",))
        concat = head("POST", upload_concat="final;http://tus.test/a/x /b/y")
        with pytest.raises(InvalidParts):
            parser.parse(concat)
        request = parser.parse(concat, base_path="/b/")
        assert isinstance(request, Create)
        assert request.parts == ("x", "y")
        refused_by(parser, InvalidParts, head("POST", upload_concat="final;http://evil.test/a/x"))


class TestAppend:
    def test_append(self) -> None:
        """With a length if it was deferred."""
        headers = {"upload_offset": "3", "content_type": TUS_TYPE}
        body = BodyInfo(length=2)
        assert parse("PATCH", "a", content_length="2", **headers) == Append(
            upload_id="a", offset=3, length=None, body=body
        )
        request = parse("PATCH", "a", transfer_encoding="chunked", upload_length="5", **headers)
        assert request == Append(upload_id="a", offset=3, length=5, body=BodyInfo(length=None))

    def test_invalid_numbers_400(self) -> None:
        """An offset is required; a length must be valid."""
        refused(InvalidOffset, "PATCH", "a", content_type=TUS_TYPE)
        refused(InvalidOffset, "PATCH", "a", content_type=TUS_TYPE, upload_offset="-0")
        refused(InvalidLength, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", upload_length="x")
        refused(MalformedHeader, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", content_length="x")
        refused(MalformedHeader, "PATCH", "a", content_type=TUS_TYPE, upload_offset="0", content_range="bytes 0-1/2")

    @pytest.mark.parametrize("method", ["PATCH", "HEAD", "DELETE", "GET"])
    def test_repeated_header_400(self, method: str) -> None:
        """Two offsets are refused, even equal ones, for every method."""
        once = head(method, "a", upload_offset="0", content_type=TUS_TYPE)
        with pytest.raises(InvalidOffset, match="more than once"):
            PARSER.parse(replace(once, headers=Headers([*once.headers.raw, (b"upload-offset", b"0")])))

    @pytest.mark.parametrize("media_type", [{}, {"content_type": ""}, {"content_type": "text/plain"}])
    def test_unsupported_type_is_deferred(self, media_type: dict[str, str]) -> None:
        """A final upload is 403 and an unknown one 404 whatever the type, so the request carries the error."""
        request = parse("PATCH", "a", upload_offset="0", **media_type)
        assert isinstance(request, Append)
        assert isinstance(request.unsupported, UnsupportedContentType)

    @pytest.mark.parametrize("encoding", ["gzip", "BR", "identity, gzip"])
    def test_encoding_is_deferred(self, encoding: str) -> None:
        """Bytes are stored unchanged, so that offsets mean the same to both sides."""
        request = parse("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, content_encoding=encoding)
        assert isinstance(request, Append)
        assert isinstance(request.unsupported, UnsupportedContentEncoding)

    @pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
    def test_identity_encoding(self, encoding: str) -> None:
        """``identity`` is allowed."""
        request = parse("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, content_encoding=encoding)
        assert isinstance(request, Append)
        assert request.unsupported is None


class TestChecksum:
    def append(self, parser: Parser = PARSER, **headers: str) -> Append:
        request = parser.parse(head("PATCH", "a", upload_offset="0", content_type=TUS_TYPE, **headers))
        assert isinstance(request, Append)
        return request

    def test_header(self) -> None:
        """The body counts only if this is its digest."""
        assert self.append(upload_checksum=SHA1).body == BodyInfo(length=None, checksum=HELLO_SHA1)

    def test_invalid_checksum_400(self) -> None:
        """Malformed checksums and unsupported algorithms are refused."""
        for parser, header, refusal in (
            (PARSER, "sha1", InvalidChecksum),
            (PARSER, "sha3 YQ==", UnsupportedAlgorithm),
            (Parser(limits=Limits(), algorithms=("md5",)), SHA1, UnsupportedAlgorithm),
        ):
            with pytest.raises(refusal):
                self.append(parser, upload_checksum=header)

    def test_trailer(self) -> None:
        """The trailer must be declared, possibly among others."""
        body = BodyInfo(length=None, checksum_in_trailer=True)
        assert self.append(TRAILERS, trailer="X-Other , upload-CHECKSUM").body == body
        assert self.append(TRAILERS, trailer="X-Other").body == BodyInfo(length=None)

    def test_header_and_trailer_400(self) -> None:
        """Two checksums are ambiguous."""
        with pytest.raises(InvalidChecksum, match="not both"):
            self.append(TRAILERS, trailer="Upload-Checksum", upload_checksum=SHA1)

    def test_trailer_unsupported_501(self) -> None:
        """If the HTTP server drops trailers, the request is refused; its bytes could not be verified."""
        with pytest.raises(ExtensionDisabled, match="checksum-trailer"):
            self.append(trailer="Upload-Checksum")


def test_download_keeps_conditional_headers_as_received() -> None:
    """Conditional headers are passed on as received, repeated ones combined."""
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
