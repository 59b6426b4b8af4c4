"""``S3State``: what a record keeps of an unfinished upload."""

from __future__ import annotations

import json

from tusd_py.storage.s3.layout import PartLayout
from tusd_py.storage.s3.state import S3State, StoredPart, Tail, from_storage

LAYOUT = PartLayout(100, 100)
PARTS = (StoredPart('"e1"', 2**64 - 1), StoredPart('"e2"'))
STATE = S3State(LAYOUT, "k", "m", True, PARTS, (Tail("t1", 10, 7), Tail("t2", 5)))


def test_state_survives_its_record() -> None:
    """As JSON, beside what others keep there, with the layout that it was begun with."""
    storage = STATE.to_storage({"path": "a/b"})
    assert storage["path"] == "a/b"
    assert from_storage(json.loads(json.dumps(storage)), PartLayout(7, 7)) == STATE
    assert S3State(LAYOUT).to_storage(storage) == {"path": "a/b"}
    assert from_storage({}, LAYOUT) == S3State(LAYOUT)
    complete = S3State(LAYOUT, "k", crc=0)
    assert from_storage(complete.to_storage({}), LAYOUT) == complete


def test_state_of_earlier_versions() -> None:
    """They recorded no keys and no checksums."""
    value = {"layout": [100, 100], "multipart": "m", "parts": ['"e1"', '"e2"'], "tails": [["t1", 10]]}
    expected = S3State(LAYOUT, "", "m", parts=(StoredPart('"e1"'), StoredPart('"e2"')), tails=(Tail("t1", 10),))
    assert from_storage({"s3": value}, LAYOUT) == expected


def test_part_contains_the_tails() -> None:
    """The part that follows starts with them."""
    assert (STATE.offset, STATE.parts_bytes, STATE.tail_bytes) == (215, 200, 15)
    after = STATE.with_part(StoredPart('"e3"'))
    assert (after.offset, after.tails) == (300, ())


def test_cut_to_a_prefix() -> None:
    """Never more bytes than asked for, and only whole parts and tails."""
    offsets = {offset: STATE.cut_to(offset).offset for offset in (500, 215, 214, 210, 209, 200, 199, 100, 99, 0)}
    assert offsets == {500: 215, 215: 215, 214: 210, 210: 210, 209: 200, 200: 200, 199: 100, 100: 100, 99: 0, 0: 0}
