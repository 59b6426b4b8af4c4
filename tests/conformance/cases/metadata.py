"""`Upload-Metadata`: what is kept, what is refused, what the field needs (rows H3, CR7 to CR12, D7)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, SHOULD, case
from tests.conformance.client import Tus, metadata
from tests.conformance.expectations import FOUND

_ECHO = (
    "If an upload contains additional metadata, responses to `HEAD` requests MUST include the `Upload-Metadata` "
    "header and its value as specified by the Client during the creation."
)


@case("H3a", MUST, "creation", _ECHO)
def metadata_is_returned(tus: Tus) -> None:
    """HEAD returns `Upload-Metadata` as sent, including keys without a value."""
    given = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential"
    tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("H3b", MUST, "creation", "Since metadata can contain arbitrary binary values")
def metadata_may_be_binary(tus: Tus) -> None:
    """Values that are not UTF-8 are returned byte for byte."""
    given = "a /w==,b gICA,c AAECAwQFBgcICQoLDA0ODw=="
    tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("H3c", MUST, "creation", _ECHO)
def metadata_keeps_its_order(tus: Tus) -> None:
    """Twenty keys are returned in the order sent."""
    given = metadata(**{f"key{(number * 7) % 20}": str(number) for number in range(20)})
    tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("H3d", POLICY, "creation", "An empty header would not be what the client gave.")
def no_metadata_header_without_metadata(tus: Tus) -> None:
    """An upload without metadata has no `Upload-Metadata` on HEAD."""
    tus.head(tus.create(10)).expect(FOUND, upload_metadata=None)


@case(
    "D7",
    POLICY,
    "creation",
    "Metadata that is parsed and formatted again differs from what the client signed, hashed or compared.",
)
def metadata_keeps_its_spelling(tus: Tus) -> None:
    """Spaces after commas and after keys without a value are returned too."""
    for given in ("a YQ==, b Yg==", "empty ,b Yg==", "B Yg==,a YQ==,C"):
        tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case(
    "CR7a",
    SHOULD,
    "creation",
    "The key MUST NOT contain spaces and commas and MUST NOT be empty. … the value MUST be Base64 encoded. All keys"
    " MUST be unique.",
)
def metadata_out_of_grammar(tus: Tus) -> None:
    """Metadata with invalid syntax is answered 400: invalid Base64, a repeated key, an empty key, a second space."""
    for given in ("a !!!", "a YQ==,a Yg==", "a YQ==,a", "a YQ==,,b Yg==", "a  YQ==", "a YQ== c", "a YQ==;b Yg=="):
        tus.post(upload_length=10, upload_metadata=given).expect(400, location=None)


@case("CR7b", SHOULD, "creation", "The key SHOULD be ASCII encoded")
def metadata_keys_are_ascii(tus: Tus) -> None:
    """A key with characters outside ASCII, or with control characters, is answered 400."""
    for given in ("ключ YQ==".encode(), "é YQ==".encode("latin-1"), b"a\x7fb YQ=="):
        tus.post(upload_length=10, upload_metadata=given).expect(400, location=None)


@case("CR8a", POLICY, "creation", "tus-py-client always sends the header, empty when it has nothing to say.")
def empty_metadata(tus: Tus) -> None:
    """An empty `Upload-Metadata` counts as absent."""
    upload = tus.create(10, upload_metadata="")
    tus.head(upload).expect(FOUND, upload_metadata=None)


@case(
    "CR8b",
    POLICY,
    "creation",
    "tus-js-client and Uppy write `key ` for an empty value; others a blank after the comma.",
)
def metadata_of_real_clients(tus: Tus) -> None:
    """A space after a key without a value, and after a comma, is accepted."""
    for given in ("empty ", "empty ,b Yg==", "a YQ==, b Yg=="):
        tus.post(upload_length=10, upload_metadata=given).expect(201, location=...)


@case("CR9", POLICY, "creation", "Decoders differ about the rest: two readers would see two values.")
def one_base64(tus: Tus) -> None:
    """Only padded Base64 of the standard alphabet is accepted."""
    for given in ("a YQ", "a YQ=", "a Y!Q==", "a YW-_", "a Y=Q=", "a YQ===", "a ="):
        tus.post(upload_length=10, upload_metadata=given).expect(400, location=None)


@case(
    "CR10",
    SHOULD,
    "creation",
    "Servers SHOULD carefully validate metadata values or sanitize them before using them as header values to avoid"
    " header smuggling.",
)
def hostile_metadata(tus: Tus) -> None:
    """Line breaks, quotes and paths in a file name or type appear in no header of HEAD or GET."""
    for name in ('a"\r\nX-Injected: 1\r\n\r\n<b>', "../../etc/passwd", "a\x00b", 'x"; filename="y', "é€😀.txt"):
        given = metadata(filename=name, name=name, filetype=f"text/html\r\nX-Injected: {len(name)}", type=name)
        upload = tus.create(5, b"hello", upload_metadata=given)
        tus.head(upload).expect(FOUND, upload_metadata=given, x_injected=None)
        got = tus.get(upload)
        got.check("no 5xx, and an answer", got.status or got.answer, 0 < got.status < 500)
        got.expect(got.status, x_injected=None)


@case(
    "CR11a",
    POLICY,
    "creation",
    "It is stored, returned on every HEAD and passes proxies: nginx limits a line to 8 KiB.",
)
def oversized_metadata(tus: Tus) -> None:
    """Metadata of 64 KiB is answered 431 (or 400, 413), not by a 5xx or a cut connection."""
    tus.post(upload_length=10, upload_metadata="a " + "YWFh" * 16384).expect((431, 400, 413), location=None)


@case("CR11b", POLICY, "creation", "Paths, checksums and signed tokens are long.")
def long_metadata(tus: Tus) -> None:
    """Metadata of 4 KiB is accepted and returned."""
    given = "token " + "YWFh" * 1024
    tus.head(tus.create(10, upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("CR12a", MUST, "creation", _ECHO)
def metadata_after_completion(tus: Tus) -> None:
    """HEAD returns the metadata of a complete upload."""
    given = metadata(filename="hello.txt")
    tus.head(tus.create(5, b"hello", upload_metadata=given)).expect(FOUND, upload_metadata=given)


@case("CR12b", MUST, "creation", _ECHO, also=("concatenation",))
def metadata_of_partial_uploads(tus: Tus) -> None:
    """HEAD returns the metadata of a partial upload."""
    given = metadata(part="1")
    upload = tus.create(5, upload_concat="partial", upload_metadata=given)
    tus.head(upload).expect(FOUND, upload_metadata=given, upload_concat="partial")
