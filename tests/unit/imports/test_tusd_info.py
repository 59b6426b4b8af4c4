"""The description that tusd keeps of an upload."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.imports.tusd_info import InfoInvalid, parse_info
from tusd_py.model.upload import Kind, Status
from tusd_py.protocol.metadata import parse_metadata

AT = datetime(2026, 1, 2, tzinfo=UTC)
#: As tusd 2.9.1 writes it.
INFO = {
    "ID": "a" * 32,
    "Size": 5,
    "SizeIsDeferred": False,
    "Offset": 0,
    "MetaData": {"filename": "ä b.txt", "empty": ""},
    "IsPartial": False,
    "IsFinal": False,
    "PartialUploads": None,
    "Storage": {"InfoPath": "data/a.info", "Path": "data/a", "Type": "filestore"},
}


def text(**changes: object) -> bytes:
    return json.dumps({**INFO, **changes}).encode()


def test_unfinished_upload_keeps_its_offset_and_metadata() -> None:
    """The bytes that are there are its offset, whatever ``Offset`` says; it can be continued."""
    info = parse_info(text())
    upload = info.to_upload(3, AT, base_path="/files/", owner="alice")
    assert (upload.id, upload.length, upload.offset, upload.status) == ("a" * 32, 5, 3, Status.UPLOADING)
    assert (upload.kind, upload.owner, upload.created_at, info.path) == (Kind.REGULAR, "alice", AT, "data/a")
    assert {"filename": "ä b.txt".encode(), "empty": b""} == parse_metadata(upload.metadata_header)


def test_complete_upload_is_ready() -> None:
    """All bytes are there: its hooks and steps were the business of tusd."""
    upload = parse_info(text()).to_upload(5, AT, base_path="/files/", owner="")
    assert (upload.status, upload.completed_at, upload.pending_steps) == (Status.READY, AT, ())


def test_deferred_length_stays_deferred() -> None:
    """``SizeIsDeferred`` is with a Size of 0."""
    upload = parse_info(text(Size=0, SizeIsDeferred=True)).to_upload(7, AT, base_path="/files/", owner="")
    assert (upload.length, upload.offset, upload.status) == (None, 7, Status.UPLOADING)


def test_partial_and_final_uploads() -> None:
    """They echo ``Upload-Concat``; that of a final names its parts by their paths."""
    partial = parse_info(text(IsPartial=True)).to_upload(5, AT, base_path="/files/", owner="")
    assert (partial.kind, partial.concat_header) == (Kind.PARTIAL, "partial")
    final = parse_info(text(IsFinal=True, PartialUploads=["x1", "x2"]))
    upload = final.to_upload(5, AT, base_path="/files/", owner="")
    assert (upload.kind, upload.parts, upload.concat_header) == (Kind.FINAL, ("x1", "x2"), "final;/files/x1 /files/x2")
    with pytest.raises(InfoInvalid, match="was not assembled"):
        final.to_upload(4, AT, base_path="/files/", owner="")


def test_more_bytes_than_the_length_are_refused() -> None:
    """Neither number can be trusted then."""
    with pytest.raises(InfoInvalid, match="6 bytes are stored, more than its length of 5"):
        parse_info(text()).to_upload(6, AT, base_path="/files/", owner="")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (text(ID="a/b"), "'a/b' is not one that this server can have"),
        (text(ID=7), "'7' is not one"),
        (text(Size=-1), "Size"),
        (text(Size=2**63), "Size"),
        (text(Size=True), "Size"),
        (text(MetaData=["x"]), "MetaData"),
        (text(MetaData={"a b": "x"}), "MetaData"),
        (text(MetaData={"a": "\ud800"}), "MetaData"),
        (text(IsFinal=True, PartialUploads=[]), "PartialUploads"),
        (text(IsFinal=True, PartialUploads=["a", 1]), "PartialUploads"),
        (text(IsFinal=True, PartialUploads="ab"), "PartialUploads"),
    ],
)
def test_wrong_info_is_refused_with_its_reason(wrong: bytes, message: str) -> None:
    """Nothing is guessed: the operator is told what is wrong."""
    with pytest.raises(InfoInvalid, match=message):
        parse_info(wrong)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each), max_leaves=5))
def test_any_value_in_any_place_is_parsed_or_refused(value: object) -> None:
    """No other exception escapes."""
    for name in INFO:
        try:
            parse_info(text(**{name: value}))
        except InfoInvalid:
            pass
