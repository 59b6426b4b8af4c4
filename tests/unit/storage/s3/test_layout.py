"""``PartLayout`` and ``Keys``: the boundaries of parts, and what belongs to which upload."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.model.upload import Upload
from tusd_py.publishing.names import published_name
from tusd_py.storage.s3.layout import OBJECT_KEY, PARTS_MAX, Keys, PartLayout

MIB = 1024**2
LAYOUT = PartLayout(8 * MIB, 64 * MIB)


def test_parts_grow_to_the_largest() -> None:
    """A thousand of 8 MiB, then twice as large each thousand, but not above the setting."""
    sizes = [LAYOUT.size(index) // MIB for index in (0, 999, 1000, 1999, 2000, 3000, 9999)]
    assert sizes == [8, 8, 16, 16, 32, 64, 64]
    assert LAYOUT.bytes_max == 504_000 * MIB
    assert PartLayout(8 * MIB, 5 * MIB).size(PARTS_MAX - 1) == 8 * MIB


@given(st.integers(0, 12_000))
def test_boundaries_agree_with_sizes(index: int) -> None:
    """Each part begins where the one before ends, and contains its first and its last byte."""
    start, size = LAYOUT.start(index), LAYOUT.size(index)
    assert LAYOUT.start(index + 1) == start + size
    assert LAYOUT.index_at(start) == index == LAYOUT.index_at(start + size - 1)


def test_keys_name_their_upload() -> None:
    """Objects and tails are found again by their keys, and other objects are not taken for one."""
    keys = Keys("tus/")
    assert keys.upload_of(keys.default("a" * 32)) == "a" * 32
    assert keys.upload_of(keys.new_attempt(an_upload())) == "an-id"
    assert keys.upload_of(keys.new_tail("an-id", 7)) == "an-id"
    assert keys.upload_of(keys.note("an-id")) == "an-id"
    assert [keys.upload_of(key) for key in ("other", "tus/", "tus/uploads/", "tus/tails/x", keys.probe)] == [None] * 5


@pytest.mark.parametrize("upload_id", ["", "..", "a/b", "a%2fb", "/"])
def test_key_of_what_is_no_id(upload_id: str) -> None:
    """Such a key could be that of another upload."""
    with pytest.raises(ValueError, match="not the id"):
        Keys("").default(upload_id)
    with pytest.raises(ValueError, match="not the id"):
        Keys("").tails(upload_id)


def an_upload(upload_id: str = "an-id", **values: Any) -> Upload:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    return Upload(id=upload_id, length=1, created_at=at, updated_at=at, **values)


PATTERN = Keys("tus/", "files/{owner}/{id}/{filename}", published_name)


@pytest.mark.parametrize("upload_id", ["an-id", "CON"])
def test_key_by_a_pattern(upload_id: str) -> None:
    """The record keeps it, and the object is found again by its key; an id is in it as it is."""
    header = "filename " + base64.b64encode(b"a/../b.txt").decode()
    upload = an_upload(upload_id, owner="alice", metadata_header=header)
    key = f"tus/files/alice/{upload_id}/b.txt"
    assert PATTERN.storage(upload) == {OBJECT_KEY: key}
    assert PATTERN.object_of(upload.with_storage({OBJECT_KEY: key})) == key
    attempt = PATTERN.new_attempt(upload.with_storage({OBJECT_KEY: key}))
    assert re.fullmatch(rf"tus/files/alice/{upload_id}\.[0-9a-f]{{16}}/b\.txt", attempt)
    assert PATTERN.is_attempt(attempt, key, upload_id)
    assert not PATTERN.is_attempt(attempt + "2", key, upload_id)
    assert PATTERN.upload_of(attempt) == upload_id
    assert PATTERN.root(attempt, upload_id) == PATTERN.root(key, upload_id) == f"tus/files/alice/{upload_id}"
    assert PATTERN.all_objects == ("tus/files/", "tus/uploads/")


def test_pattern_is_that_of_new_uploads_only() -> None:
    """An upload whose record names no key is found where it was before the pattern was changed."""
    assert PATTERN.object_of(an_upload()) == "tus/uploads/an-id" == Keys("tus/").object_of(an_upload())
    attempt = PATTERN.new_attempt(an_upload())
    assert re.fullmatch(r"tus/uploads/an-id\.[0-9a-f]{16}", attempt)
    assert PATTERN.upload_of(attempt) == "an-id"
    moved = an_upload().with_storage({OBJECT_KEY: "old/an-id/alice/x"})
    assert re.fullmatch(r"old/an-id\.[0-9a-f]{16}/alice/x", PATTERN.new_attempt(moved))
    assert Keys("tus/").storage(an_upload()) == {}


@pytest.mark.parametrize("key", ["tus/files/a/b", "tus/files/a/b/c/d", "tus/other/a/b/c", "files/a/b/c", "tus/files//"])
def test_other_objects_are_no_uploads(key: str) -> None:
    """The sweeper deletes uploads without a record, so an object of another program must not look like one."""
    assert PATTERN.upload_of(key) is None


@pytest.mark.parametrize("key", ["uploads/öl.jpg", "uploads/a b", "tails/x y/0", "publishing/a/b", "publishing/n.txt"])
def test_names_that_are_no_ids_are_no_uploads(key: str) -> None:
    """The sweeper looks for records and keys by the ids: one that is none would end it before the others."""
    assert Keys("").upload_of(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "uploads/report", "uploads/report.pdf", "uploads/report.0123", "uploads/report.0123456789ABCDEF",
        "uploads/report.0123456789abcdef0", "uploads/report.0123456789abcdef.pdf", f"uploads/{'a' * 32}.pdf",
        "tails/report/1.txt", "tails/report/0-0123456789abcdef", "publishing/report", "publishing/report.pdf",
    ],
)  # fmt: skip
def test_files_of_other_programs_are_no_uploads(key: str) -> None:
    """What has not exactly the form that the server gives is left alone."""
    assert Keys("").upload_of(key) is None
