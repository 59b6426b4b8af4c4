"""From heads in the draft to requests and refusals, rule by rule."""

from __future__ import annotations

import hashlib

import pytest

from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.draft.digests import format_digest
from tusd_py.protocol.draft.parsing import Parser, UnsupportedPatch
from tusd_py.protocol.draft.structured_fields import INTEGER_MAX
from tusd_py.protocol.draft.versions import UNVERSIONED, VERSIONS, Version
from tusd_py.protocol.errors import (
    ExtensionDisabled,
    InconsistentLength,
    InvalidLength,
    InvalidOffset,
    MalformedHeader,
    MethodNotAllowed,
    TusError,
    UnsupportedContentEncoding,
    UploadNotFound,
)
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.requests import Append, BodyInfo, Create, Discover, Head, Inspect, Request, Terminate
from tusd_py.protocol.rules import Limits

V3, V5, V6, V8, V9 = (VERSIONS[number] for number in (3, 5, 6, 8, 9))
SHA256 = Checksum("sha256", hashlib.sha256(b"hello").digest())
DIGEST = format_digest(SHA256)


def ask(method: str, path: str, version: Version = V8, limits: Limits | None = None, /, **named: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    parser = Parser(limits=limits or Limits(), version=version)
    return parser.parse(Head(method=method, path=path, headers=Headers(headers)), "/files/")


def create(version: Version = V8, method: str = "POST", limits: Limits | None = None, **named: str) -> Create:
    request = ask(method, "", version, limits, **named)
    assert isinstance(request, Create)
    return request


def append(version: Version = V8, **named: str) -> Append:
    named = {"content_type": "application/partial-upload", "upload_offset": "5"} | named
    request = ask("PATCH", "a1", version, **{name: value for name, value in named.items() if value})
    assert isinstance(request, Append)
    return request


def refused(kind: type[TusError], method: str, path: str, version: Version = V8, /, **named: str) -> TusError:
    with pytest.raises(kind) as refusal:
        ask(method, path, version, **named)
    return refusal.value


class TestCreate:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    def test_whole(self, method: str) -> None:
        """R2: any method with content creates; with ?1 the content is all, and its length the upload's (R6)."""
        request = create(method=method, upload_complete="?1", content_length="5")
        assert Create(length=5, body=BodyInfo(length=5), is_last=True) == request

    def test_part(self) -> None:
        """R2: with ?0 more will come, also when the length is reached (R13)."""
        request = create(upload_complete="?0", upload_length="5", content_length="5")
        assert Create(length=5, body=BodyInfo(length=5), is_last=False) == request

    def test_careful(self) -> None:
        """Nothing but a URL is asked for."""
        assert Create(length=9, is_last=False) == create(upload_complete="?0", upload_length="9", content_length="0")

    def test_empty(self) -> None:
        """The upload of nothing is whole."""
        assert Create(length=0, is_last=True) == create(upload_complete="?1", content_length="0")

    def test_chunked(self) -> None:
        """R6: without Content-Length, only the end of the body tells."""
        request = create(upload_complete="?1", transfer_encoding="chunked")
        assert Create(length=None, body=BodyInfo(length=None), is_last=True) == request

    @pytest.mark.parametrize("value", ["1", "true", "?2", "", "?1, ?1"])
    def test_bad_completeness(self, value: str) -> None:
        """R2: a value that is no Boolean is as no header: nobody knows then what is asked for."""
        assert "Upload-Complete" in str(refused(MalformedHeader, "POST", "", upload_complete=value))
        assert "Upload-Incomplete" in str(refused(MalformedHeader, "POST", "", V3, upload_incomplete=value))

    def test_incompleteness(self) -> None:
        """Version 3 says the opposite, in a header of its own; Upload-Complete means nothing in it."""
        assert create(V3, upload_incomplete="?0", content_length="5").is_last is True
        assert create(V3, upload_incomplete="?1", upload_complete="?1", content_length="5").is_last is None

    @pytest.mark.parametrize("length", ["-1", "1.5", "1000000000000000", "x", "5, 5"])
    def test_bad_length(self, length: str) -> None:
        """R7: a length that is no Integer of fifteen digits is ignored as a whole."""
        assert create(upload_complete="?0", upload_length=length, content_length="0").length is None

    @pytest.mark.parametrize(
        "named",
        [
            {"upload_complete": "?1", "upload_length": "6", "content_length": "5"},
            {"upload_complete": "?1", "upload_length": "4", "content_length": "5"},
            {"upload_complete": "?0", "upload_length": "4", "content_length": "5"},
            {"upload_complete": "?1", "upload_length": "6", "content_length": "0"},
        ],
    )
    def test_lengths_that_differ(self, named: dict[str, str]) -> None:
        """R6: all sources of the length agree, or nothing is made; R11: nor where the body alone is longer."""
        refused(InconsistentLength, "POST", "", **named)

    def test_a_length_that_cannot_be_told(self) -> None:
        """R7: what no answer could say is not begun."""
        refused(InvalidLength, "POST", "", upload_complete="?1", content_length=str(INTEGER_MAX + 1))

    def test_until_version_6_the_length_completes_as_well(self) -> None:
        """What is not the last by its word may be so by its length, for those who speak no later version."""
        assert create(V6, upload_complete="?0", upload_length="0", content_length="0").is_last is None
        assert create(V8, upload_complete="?0", upload_length="0", content_length="0").is_last is False

    def test_description(self) -> None:
        """Type and name of the content are the upload's metadata."""
        request = create(upload_complete="?1", content_type="a/b", content_disposition="inline; filename=x")
        assert "filename eA==,filetype YS9i" == request.metadata_header

    def test_content_digest(self) -> None:
        """R17: a body is checked by its digest; what came of it counts if it is cut (R12)."""
        request = create(upload_complete="?0", content_length="5", content_digest=DIGEST)
        assert BodyInfo(length=5, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == request.body
        assert request.metadata_header is None

    def test_the_digest_of_nothing(self) -> None:
        """R17: a digest is checked also over no bytes."""
        request = create(upload_complete="?1", content_length="0", content_digest=DIGEST)
        assert BodyInfo(length=0, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == request.body

    def test_repr_digest(self) -> None:
        """R17: the digest of the whole checks a body that is the whole, and is kept for the end of any other."""
        whole = create(upload_complete="?1", content_length="5", repr_digest=DIGEST)
        assert BodyInfo(length=5, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == whole.body
        part = create(upload_complete="?0", content_length="5", repr_digest=DIGEST)
        assert BodyInfo(length=5) == part.body
        assert whole.metadata_header == part.metadata_header is not None

    def test_what_cannot_be_stored_truly(self) -> None:
        """A coded body, or a range of something, would come back as something else."""
        refused(UnsupportedContentEncoding, "POST", "", upload_complete="?1", content_encoding="gzip")
        refused(MalformedHeader, "POST", "", upload_complete="?1", content_range="bytes 0-1/2")

    def test_without_creation_with_upload(self) -> None:
        """Where creations take no bytes, one with bytes is refused rather than emptied."""
        limits = Limits(creation_with_upload=False)
        assert create(limits=limits, upload_complete="?0", content_length="0").body is None
        with pytest.raises(ExtensionDisabled):
            create(limits=limits, upload_complete="?0", content_length="5")

    def test_plain(self) -> None:
        """R1: an unknown version's whole upload is read as the newest version's."""
        assert Create(length=5, body=BodyInfo(length=5), is_last=True) == create(
            UNVERSIONED, upload_complete="?1", content_length="5"
        )


class TestAppend:
    def test_part(self) -> None:
        """R9, R13: an append that is not the last leaves the upload open, wherever it ends."""
        request = append(upload_complete="?0", content_length="4")
        assert request == Append(upload_id="a1", offset=5, length=None, body=BodyInfo(length=4), is_last=False)

    def test_last(self) -> None:
        """R6, R9: the last append says by its own length what the upload's is."""
        request = append(upload_complete="?1", content_length="4", content_digest=DIGEST)
        assert (9, True) == (request.length, request.is_last)
        assert SHA256 == request.body.checksum
        assert request.unsupported is None

    def test_last_of_unknown_length(self) -> None:
        """R6: chunked, only Upload-Length can tell; where it is absent the end of the body will."""
        assert append(upload_complete="?1", transfer_encoding="chunked").length is None
        assert 7 == append(upload_complete="?1", transfer_encoding="chunked", upload_length="7").length

    def test_a_digest_of_the_whole_checks_no_part(self) -> None:
        """R17: Repr-Digest with an append is not the digest of that append."""
        assert append(upload_complete="?1", content_length="4", repr_digest=DIGEST).body.checksum is None

    def test_lengths_that_differ(self) -> None:
        """R6: offset and content must end where Upload-Length says."""
        refused(
            InconsistentLength, "PATCH", "a", upload_offset="5", upload_complete="?1", content_length="4",
            upload_length="10",
        )  # fmt: skip

    def test_an_end_that_cannot_be_told(self) -> None:
        """R7: the sum is an Integer too."""
        refused(
            InvalidLength, "PATCH", "a", upload_offset=str(INTEGER_MAX), upload_complete="?1", content_length="1"
        )  # fmt: skip

    @pytest.mark.parametrize("offset", ["", "-1", "x", "5.0", "1000000000000000", "5, 5"])
    def test_bad_offset(self, offset: str) -> None:
        """R7, R9: an offset that is no Integer is as none, and an append needs one."""
        refused(InvalidOffset, "PATCH", "a", upload_complete="?0", upload_offset=offset)

    def test_no_completeness(self) -> None:
        """R9: it must be told since version 7; in 3, silence is the end; between, the length decides."""
        refused(MalformedHeader, "PATCH", "a", upload_offset="0")
        assert append(V3).is_last is True
        assert append(V6).is_last is None
        assert append(V5, upload_complete="junk").is_last is None

    def test_media_type(self) -> None:
        """R9: since version 6 an append has a type of its own; it is told only after what the upload itself says."""
        assert isinstance(append(upload_complete="?0", content_type="text/plain").unsupported, UnsupportedPatch)
        assert isinstance(append(upload_complete="?0", content_type="").unsupported, UnsupportedPatch)
        assert append(upload_complete="?0", content_type="Application/Partial-Upload; a=b").unsupported is None
        assert append(V5, content_type="").unsupported is None

    def test_coded(self) -> None:
        """Offsets count what is stored: a coded body is refused."""
        request = append(upload_complete="?0", content_encoding="gzip")
        assert isinstance(request.unsupported, UnsupportedContentEncoding)


class TestOthers:
    def test_retrieval(self) -> None:
        """R8: HEAD asks for the offset, and GET since version 8."""
        assert Inspect(upload_id="a1") == ask("HEAD", "/a1/") == ask("GET", "a1")
        assert Inspect(upload_id="a1", length_completes=True) == ask("HEAD", "a1", V6)
        assert ("HEAD", "PATCH", "DELETE", "OPTIONS") == refused_method("GET", "a1", V6)

    def test_cancellation(self) -> None:
        """R15: DELETE ends it, where the operator allows that."""
        assert Terminate(upload_id="a1") == ask("DELETE", "a1")
        assert ("HEAD", "GET", "PATCH", "OPTIONS") == refused_method("DELETE", "a1", limits=Limits(termination=False))

    @pytest.mark.parametrize("method", ["HEAD", "DELETE"])
    @pytest.mark.parametrize("name", ["upload_offset", "upload_complete", "upload_incomplete"])
    def test_state_in_a_question(self, method: str, name: str) -> None:
        """Up to version 6, who tells a state where it is asked for is refused; later it is ignored."""
        refused(MalformedHeader, method, "a", V6, **{name: "?1"})
        assert ask(method, "a", V8, **{name: "?1"})

    def test_discovery(self) -> None:
        """R14: OPTIONS asks for the limits, of the collection or of an upload."""
        assert Discover(upload_id=None) == ask("OPTIONS", "/")
        assert Discover(upload_id="a") == ask("OPTIONS", "a")

    def test_methods(self) -> None:
        """What a URL does not take is 405, and what is no id 404."""
        assert ("POST", "PUT", "PATCH", "OPTIONS") == refused_method("GET", "")
        assert ("HEAD", "GET", "PATCH", "DELETE", "OPTIONS") == refused_method("PUT", "a")
        refused(UploadNotFound, "HEAD", "a/b")

    def test_override(self) -> None:
        """Clients that can only POST are heard in this dialect too."""
        assert Inspect(upload_id="a") == ask("POST", "a", x_http_method_override="HEAD")


def refused_method(method: str, path: str, version: Version = V8, limits: Limits | None = None) -> tuple[str, ...]:
    with pytest.raises(MethodNotAllowed) as refusal:
        ask(method, path, version, limits)
    return refusal.value.allowed
