"""Every codec: formatting and parsing gives the same value; junk raises a documented error and nothing else."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.client_headers import checksum_header, final_header
from tusd_py.model.ids import is_upload_id
from tusd_py.model.upload import Upload
from tusd_py.protocol.checksum import ALGORITHMS, Checksum, new_digest, parse_checksum
from tusd_py.protocol.concat import CollectionUrl, parse_concat
from tusd_py.protocol.concat_errors import (
    InvalidParts,
)
from tusd_py.protocol.dates import format_date, parse_date
from tusd_py.protocol.downloads import content_headers, select_range
from tusd_py.protocol.errors import (
    InvalidChecksum,
    InvalidConcat,
    InvalidMetadata,
    PreconditionFailed,
    RangeNotSatisfiable,
    TusError,
    UnsupportedAlgorithm,
)
from tusd_py.protocol.headers import (
    NUMBER_MAX,
    format_base64,
    parse_base64,
    parse_media_type,
    parse_number,
)
from tusd_py.protocol.metadata import format_metadata, parse_metadata
from tusd_py.protocol.requests import Download

# Processors are shared: how long one example takes says nothing.
settings.register_profile("codecs", deadline=None)
codec = settings(settings.get_profile("codecs"), max_examples=300)

PLACE = CollectionUrl(base_paths=("/files/",))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAFE_VALUE = re.compile(rb"[\x20-\x7e]*")

#: A header's value as an HTTP server may hand it over: any bytes but line ends, read as Latin-1.
junk = st.binary(max_size=60).map(lambda value: value.decode("latin-1"))
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_~!$'()*+,=@-]{0,127}", fullmatch=True)
visible = "".join(chr(code) for code in range(0x21, 0x7F))
keys = st.text(visible.replace(",", ""), min_size=1, max_size=20)
metadata_values = st.dictionaries(keys, st.binary(max_size=40), max_size=6)


def almost(alphabet: str) -> st.SearchStrategy[str]:
    """Text that comes near to what is right, so that the far branches are reached."""
    return st.one_of(junk, st.text(alphabet + " \t,;=/é\x00", max_size=40))


@codec
@given(st.integers(0, NUMBER_MAX))
def test_number_round_trip(number: int) -> None:
    """Every number in range."""
    assert parse_number(str(number)) == number


@codec
@given(st.one_of(junk, st.text(string.digits + "+-_ ٣²", max_size=25)))
@example("9223372036854775808")
def test_junk_as_number(text: str) -> None:
    """A parsed text is the canonical form of its number."""
    number = parse_number(text)
    assert number is None or str(number) == text


@codec
@given(st.binary())
def test_base64_round_trip(value: bytes) -> None:
    """Arbitrary bytes."""
    assert parse_base64(format_base64(value)) == value


@codec
@given(almost(string.ascii_letters + string.digits + "+/="))
def test_junk_as_base64(text: str) -> None:
    """A parsed text has the length and alphabet of base64."""
    value = parse_base64(text)
    assert value is None or len(format_base64(value)) == len(text)


@codec
@given(metadata_values)
def test_metadata_round_trip(metadata: dict[str, bytes]) -> None:
    """Valid keys with arbitrary bytes, in order."""
    assert list(parse_metadata(format_metadata(metadata)).items()) == list(metadata.items())


@codec
@given(almost("abYQ=="))
def test_junk_as_metadata(header: str) -> None:
    """It is refused, or formatting the parsed value is equivalent; an accepted header can be echoed."""
    try:
        metadata = parse_metadata(header)
    except InvalidMetadata:
        return
    assert parse_metadata(format_metadata(metadata)) == metadata
    assert not re.search(r"[^\t -~]", header)


@codec
@given(st.sampled_from(ALGORITHMS), st.binary())
def test_checksum_round_trip(algorithm: str, body: bytes) -> None:
    """The digest of any body in each algorithm."""
    digest = new_digest(algorithm)
    digest.update(body)
    checksum = Checksum(algorithm, digest.digest())
    assert parse_checksum(checksum_header(checksum)) == checksum


@codec
@given(st.one_of(almost("sha1YQ="), st.tuples(st.sampled_from(ALGORITHMS), almost("YQ=")).map(" ".join)))
def test_junk_as_a_checksum(header: str) -> None:
    """It is refused, or is the canonical form (except for the unused last bits of base64)."""
    try:
        checksum = parse_checksum(header)
    except (InvalidChecksum, UnsupportedAlgorithm):
        return
    assert len(checksum_header(checksum)) == len(header)
    assert parse_checksum(checksum_header(checksum)) == checksum


@codec
@given(st.lists(ids, min_size=1, max_size=10), st.sampled_from(["/files/", "http://tus.test/files/", "", "./"]))
def test_concat_round_trip(parts: list[str], before: str) -> None:
    """The parts in order, for every form of URL."""
    header = final_header([before + part for part in parts])
    assert parse_concat(header, PLACE).parts == tuple(parts)


@codec
@given(st.one_of(junk, almost("final;/files/.%20:[]@?#").map(lambda urls: f"final;{urls}")))
@example("final;//[")
@example("final;http://[::1/files/a")
@example("final;http://\u2100.test/files/a")
def test_junk_as_concat(header: str) -> None:
    """It is refused, or has only valid ids; an accepted header can be echoed."""
    try:
        concat = parse_concat(header, PLACE)
    except (InvalidConcat, InvalidParts):
        return
    assert all(is_upload_id(part) for part in concat.parts)
    assert not re.search(r"[^ -~]", header)


@codec
@given(st.datetimes(timezones=st.just(UTC)))
def test_date_round_trip(at: datetime) -> None:
    """Every second of every year."""
    assert parse_date(format_date(at)) == at.replace(microsecond=0)


@codec
@given(st.one_of(junk, st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} (Feb|Nov|Xyz) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")))
def test_junk_as_a_date(text: str) -> None:
    """It is a date or None, never an exception."""
    date = parse_date(text)
    assert date is None or date.tzinfo is UTC


@codec
@given(junk)
def test_junk_as_a_media_type(text: str) -> None:
    """The result never has parameters."""
    assert ";" not in parse_media_type(text)


condition_headers = ("range", "if_range", "if_match", "if_none_match", "if_modified_since", "if_unmodified_since")
conditions = st.one_of(
    st.none(),
    junk,
    almost('W/"*bytes=0123456789-'),
    st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True),
    st.sampled_from(["*", '"a-0"', 'W/"a-0"', "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"]),
)


@codec
@given(st.integers(0, 200), st.booleans(), st.fixed_dictionaries(dict.fromkeys(condition_headers, conditions)))
def test_junk_as_conditions(offset: int, is_complete: bool, sent: dict[str, str | None]) -> None:
    """The result is a range of the stored bytes, 304, 412 or 416."""
    completed_at = NOW if is_complete else None
    upload = Upload(id="a", length=200, offset=offset, created_at=NOW, updated_at=NOW, completed_at=completed_at)
    try:
        span = select_range(Download(upload_id="a", **sent), upload)
    except (PreconditionFailed, RangeNotSatisfiable):
        return
    if span is not None:
        assert 0 <= span.start <= span.stop <= offset
        assert span.start < span.stop or not span.partial
        assert span.partial or (span.start, span.stop) == (0, offset)


@codec
@given(
    st.dictionaries(
        st.sampled_from(["filename", "name", "filetype", "x"]), st.one_of(st.binary(), st.text().map(str.encode))
    )
)
def test_content_headers_are_safe(metadata: dict[str, bytes]) -> None:
    """For any metadata, header values consist of visible ASCII characters and spaces."""
    header = format_metadata(metadata) or None
    upload = Upload(id="a", length=0, created_at=NOW, updated_at=NOW, metadata_header=header)
    fields = content_headers(upload, frozenset({"text/plain"}))
    assert all(SAFE_VALUE.fullmatch(value) for _, value in fields)
    assert dict(fields)[b"content-disposition"].startswith(b"attachment") or metadata.get("filetype")


@codec
@given(st.text())
def test_id_is_one_path_segment(text: str) -> None:
    """A valid id is unchanged as a path segment."""
    if is_upload_id(text):
        assert "/" not in text
        assert text not in (".", "..")
        assert text.isascii()


def test_documented_errors_are_tus_errors() -> None:
    """All documented errors are errors of the protocol."""
    for refusal in (InvalidChecksum, InvalidConcat, InvalidMetadata, InvalidParts, UnsupportedAlgorithm):
        assert issubclass(refusal, TusError)
