"""From heads in the draft to requests and refusals, rule by rule."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.client_headers import digest_header
from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.draft.parsing import DraftParser, UnsupportedPatch
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
DIGEST = digest_header(SHA256)


def ask(method: str, path: str, version: Version = V8, limits: Limits | None = None, /, **named: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    parser = DraftParser(limits=limits or Limits(), version=version)
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
    def test_create_whole(self, method: str) -> None:
        """R2: any method with content creates an upload; with ?1 its length is that of the content (R6)."""
        request = create(method=method, upload_complete="?1", content_length="5")
        assert Create(length=5, body=BodyInfo(length=5), is_last=True) == request

    def test_create_part(self) -> None:
        """R2: with ?0 more content follows, even if the length is reached (R13)."""
        request = create(upload_complete="?0", upload_length="5", content_length="5")
        assert Create(length=5, body=BodyInfo(length=5), is_last=False) == request

    def test_create_without_content(self) -> None:
        """The client requests only a URL."""
        assert Create(length=9, is_last=False) == create(upload_complete="?0", upload_length="9", content_length="0")

    def test_create_empty(self) -> None:
        """An empty upload is complete."""
        assert Create(length=0, is_last=True) == create(upload_complete="?1", content_length="0")

    def test_create_chunked(self) -> None:
        """R6: without Content-Length, the length is known at the end of the body."""
        request = create(upload_complete="?1", transfer_encoding="chunked")
        assert Create(length=None, body=BodyInfo(length=None), is_last=True) == request

    @pytest.mark.parametrize("value", ["1", "true", "?2", "", "?1, ?1"])
    def test_create_invalid_completeness_400(self, value: str) -> None:
        """R2: a value that is not a Boolean is ignored, and then the required header is missing."""
        assert "Upload-Complete" in str(refused(MalformedHeader, "POST", "", upload_complete=value))
        assert "Upload-Incomplete" in str(refused(MalformedHeader, "POST", "", V3, upload_incomplete=value))

    def test_create_version_3(self) -> None:
        """Version 3 has Upload-Incomplete, the negation; Upload-Complete is ignored."""
        assert create(V3, upload_incomplete="?0", content_length="5").is_last is True
        assert create(V3, upload_incomplete="?1", upload_complete="?1", content_length="5").is_last is None

    @pytest.mark.parametrize("length", ["-1", "1.5", "1000000000000000", "x", "5, 5"])
    def test_create_invalid_length(self, length: str) -> None:
        """R7: a length that is not an Integer of at most fifteen digits is ignored."""
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
    def test_create_inconsistent_length_400(self, named: dict[str, str]) -> None:
        """R6: if lengths differ, or the body alone exceeds the length (R11), nothing is created."""
        refused(InconsistentLength, "POST", "", **named)

    def test_create_length_above_integer_max_400(self) -> None:
        """R7: an upload whose length no response could state is refused."""
        refused(InvalidLength, "POST", "", upload_complete="?1", content_length=str(INTEGER_MAX + 1))

    def test_length_completes_until_version_6(self) -> None:
        """Up to version 6, an upload with ?0 is complete at its length."""
        assert create(V6, upload_complete="?0", upload_length="0", content_length="0").is_last is None
        assert create(V8, upload_complete="?0", upload_length="0", content_length="0").is_last is False

    def test_type_and_name_of_the_content_become_metadata(self) -> None:
        """Type and name of the content become metadata."""
        request = create(upload_complete="?1", content_type="a/b", content_disposition="inline; filename=x")
        assert "filename eA==,filetype YS9i" == request.metadata_header

    def test_content_digest(self) -> None:
        """R17: a body is verified by its digest; the received part of an aborted body is kept (R12)."""
        request = create(upload_complete="?0", content_length="5", content_digest=DIGEST)
        assert BodyInfo(length=5, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == request.body
        assert request.metadata_header is None

    def test_digest_of_empty_body(self) -> None:
        """R17: the digest of an empty body is verified as well."""
        request = create(upload_complete="?1", content_length="0", content_digest=DIGEST)
        assert BodyInfo(length=0, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == request.body

    def test_repr_digest(self) -> None:
        """R17: Repr-Digest verifies a body that is the whole upload, and is kept as metadata otherwise."""
        whole = create(upload_complete="?1", content_length="5", repr_digest=DIGEST)
        assert BodyInfo(length=5, checksum=SHA256, keep_partial=True, discard_on_mismatch=True) == whole.body
        part = create(upload_complete="?0", content_length="5", repr_digest=DIGEST)
        assert BodyInfo(length=5) == part.body
        assert whole.metadata_header == part.metadata_header is not None

    def test_create_encoded_body_refused(self) -> None:
        """Encoded bodies and bodies with Content-Range are refused."""
        refused(UnsupportedContentEncoding, "POST", "", upload_complete="?1", content_encoding="gzip")
        refused(MalformedHeader, "POST", "", upload_complete="?1", content_range="bytes 0-1/2")

    def test_creation_with_upload_disabled_501(self) -> None:
        """With creation-with-upload disabled, a creation with content is refused, not stored empty."""
        limits = Limits(creation_with_upload=False)
        assert create(limits=limits, upload_complete="?0", content_length="0").body is None
        with pytest.raises(ExtensionDisabled):
            create(limits=limits, upload_complete="?0", content_length="5")

    def test_create_unversioned(self) -> None:
        """R1: a whole upload of an unknown version is parsed like the newest version."""
        assert Create(length=5, body=BodyInfo(length=5), is_last=True) == create(
            UNVERSIONED, upload_complete="?1", content_length="5"
        )


class TestAppend:
    def test_append_part(self) -> None:
        """R9, R13: an append that is not the last leaves the upload unfinished, wherever it ends."""
        request = append(upload_complete="?0", content_length="4")
        assert request == Append(upload_id="a1", offset=5, length=None, body=BodyInfo(length=4), is_last=False)

    def test_append_last(self) -> None:
        """R6, R9: the end of the last append is the length of the upload."""
        request = append(upload_complete="?1", content_length="4", content_digest=DIGEST)
        assert (9, True) == (request.length, request.is_last)
        assert SHA256 == request.body.checksum
        assert request.unsupported is None

    def test_append_last_chunked(self) -> None:
        """R6: without Content-Length, the length is that of Upload-Length or the end of the body."""
        assert append(upload_complete="?1", transfer_encoding="chunked").length is None
        assert 7 == append(upload_complete="?1", transfer_encoding="chunked", upload_length="7").length

    def test_append_ignores_repr_digest(self) -> None:
        """R17: the Repr-Digest of an append does not describe that append."""
        assert append(upload_complete="?1", content_length="4", repr_digest=DIGEST).body.checksum is None

    def test_append_inconsistent_length_400(self) -> None:
        """R6: offset and content must end at Upload-Length."""
        refused(
            InconsistentLength, "PATCH", "a", upload_offset="5", upload_complete="?1", content_length="4",
            upload_length="10",
        )  # fmt: skip

    def test_append_end_above_integer_max_400(self) -> None:
        """R7: the end of the body must be an Integer."""
        refused(
            InvalidLength, "PATCH", "a", upload_offset=str(INTEGER_MAX), upload_complete="?1", content_length="1"
        )  # fmt: skip

    @pytest.mark.parametrize("offset", ["", "-1", "x", "5.0", "1000000000000000", "5, 5"])
    def test_append_invalid_offset_400(self, offset: str) -> None:
        """R7, R9: an offset that is not an Integer is ignored, and an append needs an offset."""
        refused(InvalidOffset, "PATCH", "a", upload_complete="?0", upload_offset=offset)

    def test_append_without_completeness(self) -> None:
        """R9: required since version 7; in version 3 its absence means the end; in between the length decides."""
        refused(MalformedHeader, "PATCH", "a", upload_offset="0")
        assert append(V3).is_last is True
        assert append(V6).is_last is None
        assert append(V5, upload_complete="junk").is_last is None

    def test_append_wrong_type_415(self) -> None:
        """R9: since version 6 an append has its own type; the error is raised only after the checks of the upload."""
        assert isinstance(append(upload_complete="?0", content_type="text/plain").unsupported, UnsupportedPatch)
        assert isinstance(append(upload_complete="?0", content_type="").unsupported, UnsupportedPatch)
        assert append(upload_complete="?0", content_type="Application/Partial-Upload; a=b").unsupported is None
        assert append(V5, content_type="").unsupported is None

    def test_append_encoded_415(self) -> None:
        """Offsets count stored bytes, so an encoded body is refused."""
        request = append(upload_complete="?0", content_encoding="gzip")
        assert isinstance(request.unsupported, UnsupportedContentEncoding)


class TestOthers:
    def test_head_retrieves_the_offset_and_get_since_version_8(self) -> None:
        """R8: HEAD retrieves the offset, and GET since version 8."""
        assert Inspect(upload_id="a1") == ask("HEAD", "/a1/") == ask("GET", "a1")
        assert Inspect(upload_id="a1", length_completes=True) == ask("HEAD", "a1", V6)
        assert ("HEAD", "PATCH", "DELETE", "OPTIONS") == refused_method("GET", "a1", V6)

    def test_delete_terminates_if_that_is_enabled(self) -> None:
        """R15: DELETE terminates the upload, if termination is enabled."""
        assert Terminate(upload_id="a1") == ask("DELETE", "a1")
        assert ("HEAD", "GET", "PATCH", "OPTIONS") == refused_method("DELETE", "a1", limits=Limits(termination=False))

    @pytest.mark.parametrize("method", ["HEAD", "DELETE"])
    @pytest.mark.parametrize("name", ["upload_offset", "upload_complete", "upload_incomplete"])
    def test_state_headers_in_head_and_delete(self, method: str, name: str) -> None:
        """Up to version 6 they are refused; later they are ignored."""
        refused(MalformedHeader, method, "a", V6, **{name: "?1"})
        assert ask(method, "a", V8, **{name: "?1"})

    def test_options_retrieves_the_limits(self) -> None:
        """R14: OPTIONS retrieves the limits, for the collection or an upload."""
        assert Discover(upload_id=None) == ask("OPTIONS", "/")
        assert Discover(upload_id="a") == ask("OPTIONS", "a")

    def test_unsupported_method_405(self) -> None:
        """An unsupported method is 405, and an invalid id 404."""
        assert ("POST", "PUT", "PATCH", "OPTIONS") == refused_method("GET", "")
        assert ("HEAD", "GET", "PATCH", "DELETE", "OPTIONS") == refused_method("PUT", "a")
        refused(UploadNotFound, "HEAD", "a/b")

    def test_method_override_works_in_the_draft(self) -> None:
        """The method override works in the draft as well."""
        assert Inspect(upload_id="a") == ask("POST", "a", x_http_method_override="HEAD")


def refused_method(method: str, path: str, version: Version = V8, limits: Limits | None = None) -> tuple[str, ...]:
    with pytest.raises(MethodNotAllowed) as refusal:
        ask(method, path, version, limits)
    return refusal.value.allowed
