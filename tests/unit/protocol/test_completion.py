"""What the end of a body means for its upload, over every combination of its inputs."""

from __future__ import annotations

from itertools import product

import pytest

from tusd_py.protocol.completion import BodyEnd, BodyOutcome, Decision, Raises, decide, ends_upload

WHOLE, CUT, FAILED, MISSING = BodyOutcome
NOTHING, CAUSE, INCONSISTENT = Raises
RECORDED = 10

# The offset in the record is 10. "received" is where the received bytes end, "stored" where the stored ones do.
TABLE = [
    # outcome, is_last, length, received, stored, is_flushed -> offset, length, is_complete, raises
    # tus 1.0: the length alone decides.
    ((WHOLE, None, 30, 20, 20, True), (20, 30, False, NOTHING)),
    ((WHOLE, None, None, 20, 20, True), (20, None, False, NOTHING)),
    ((WHOLE, None, 20, 20, 20, True), (20, 20, True, NOTHING)),
    ((CUT, None, 30, 20, 20, True), (20, 30, False, CAUSE)),
    ((CUT, None, None, 20, 20, True), (20, None, False, CAUSE)),
    # Cut after the last byte: the upload is complete all the same, and the cut is no failure.
    ((CUT, None, 20, 20, 20, True), (20, 20, True, NOTHING)),
    # No byte arrived.
    ((WHOLE, None, 30, 10, 10, True), (10, 30, False, NOTHING)),
    ((WHOLE, None, 10, 10, 10, True), (10, 10, True, NOTHING)),
    ((CUT, None, 30, 10, 10, True), (10, 30, False, CAUSE)),
    # The draft, more bytes will follow: never complete, not even at the length.
    ((WHOLE, False, 30, 20, 20, True), (20, 30, False, NOTHING)),
    ((WHOLE, False, 20, 20, 20, True), (20, 20, False, NOTHING)),
    ((WHOLE, False, None, 20, 20, True), (20, None, False, NOTHING)),
    ((CUT, False, 20, 20, 20, True), (20, 20, False, CAUSE)),
    # The draft, the last bytes: the end of the body is the length, or must agree with it.
    ((WHOLE, True, None, 20, 20, True), (20, 20, True, NOTHING)),
    ((WHOLE, True, 20, 20, 20, True), (20, 20, True, NOTHING)),
    ((WHOLE, True, 30, 20, 20, True), (20, 30, False, INCONSISTENT)),
    ((CUT, True, None, 20, 20, True), (20, None, False, CAUSE)),
    ((CUT, True, 20, 20, 20, True), (20, 20, False, CAUSE)),
    # The store failed: what it has counts, and no length is declared.
    ((FAILED, None, 30, 20, 15, False), (15, None, False, CAUSE)),
    ((FAILED, None, 30, 20, 10, False), (10, None, False, CAUSE)),
    ((FAILED, True, 20, 20, 15, False), (15, None, False, CAUSE)),
    # All bytes are stored, but not as safely as required: a tus 1.0 client must send the last one again.
    ((FAILED, None, 20, 20, 20, False), (19, None, False, CAUSE)),
    ((FAILED, None, 10, 10, 10, False), (10, None, False, CAUSE)),
    # In the draft it comes back anyway, since the upload is not complete.
    ((FAILED, True, 20, 20, 20, False), (20, None, False, CAUSE)),
    ((FAILED, False, 20, 20, 20, False), (20, None, False, CAUSE)),
    # Writing failed before, and the last flush made everything safe.
    ((FAILED, None, 20, 20, 20, True), (20, None, False, CAUSE)),
    # Fewer bytes are stored than the record says: the record follows. Any other failure does not shorten it.
    ((MISSING, None, 30, 20, 4, False), (4, None, False, CAUSE)),
    ((MISSING, True, 20, 20, 0, False), (0, None, False, CAUSE)),
    ((FAILED, None, 30, 20, 4, False), (10, None, False, CAUSE)),
]


@pytest.mark.parametrize(("end", "expected"), TABLE)
def test_each_row_of_the_table_is_decided_so(
    end: tuple[BodyOutcome, bool | None, int | None, int, int, bool], expected: tuple[int, int | None, bool, Raises]
) -> None:
    """Each row of the table."""
    outcome, is_last, length, received, stored, is_flushed = end
    assert decide(BodyEnd(outcome, is_last, length, RECORDED, received, stored, is_flushed)) == Decision(*expected)


def every_end() -> list[BodyEnd]:
    """Every combination that can occur: a body that was flushed is stored up to where it was received."""
    ends = []
    for outcome, is_last, received in product(BodyOutcome, (None, False, True), (10, 11, 20)):
        store_failed = outcome in (FAILED, MISSING)
        for length, is_flushed in product((None, received, received + 1, 40), (True, False)):
            if not is_flushed and not store_failed:
                continue
            possible = (received,) if is_flushed else range(received + 1)
            ends += [BodyEnd(outcome, is_last, length, RECORDED, received, stored, is_flushed) for stored in possible]
    return ends


def test_invariants_hold_for_every_combination() -> None:
    """What holds for every combination."""
    ends = every_end()
    assert len(ends) > 500
    for end in ends:
        decision = decide(end)
        assert decision == decide(end)
        # No byte is claimed that is not stored, and none is forgotten that was recorded, unless it is missing.
        assert decision.offset <= max(end.stored, end.recorded)
        assert decision.offset >= end.recorded or end.outcome is MISSING
        assert decision.length is None or decision.offset <= decision.length
        if end.outcome in (FAILED, MISSING):
            assert (decision.length, decision.is_complete, decision.raises) == (None, False, CAUSE)
            continue
        # A request that the store carried out keeps every byte.
        assert decision.offset == end.received
        if decision.is_complete:
            assert (decision.offset, decision.raises) == (decision.length, NOTHING)
            assert end.is_last is not False
            assert ends_upload(end.outcome, end.is_last, end.length, end.received), "it must be durable"
        if end.outcome is CUT:
            # A cut is raised, except after the last byte of a tus 1.0 upload.
            assert decision.is_complete is (end.is_last is None and end.received == end.length)
            assert decision.raises is (NOTHING if decision.is_complete else CAUSE)
        elif end.is_last:
            assert decision.is_complete is (end.length in (None, end.received))
            assert decision.raises is (NOTHING if decision.is_complete else INCONSISTENT)
        elif end.is_last is None:
            assert decision.is_complete is (end.received == end.length)
            assert decision.raises is NOTHING
        else:
            assert (decision.is_complete, decision.raises) == (False, NOTHING)


def test_never_complete_without_its_bytes() -> None:
    """A store that reports a success without having every byte completes nothing."""
    for is_last, length in ((None, 20), (True, 20), (True, None)):
        assert not decide(BodyEnd(WHOLE, is_last, length, RECORDED, 20, 19, True)).is_complete


@pytest.mark.parametrize(
    ("outcome", "is_last", "length", "expected"),
    [
        (WHOLE, None, 20, True),
        (CUT, None, 20, True),
        (WHOLE, None, 21, False),
        (WHOLE, None, None, False),
        (WHOLE, False, 20, True),
        (WHOLE, False, None, False),
        (WHOLE, True, None, True),
        (CUT, True, None, False),
        (FAILED, True, None, False),
        (WHOLE, True, 21, False),
    ],
)
def test_ends_upload(outcome: BodyOutcome, is_last: bool | None, length: int | None, expected: bool) -> None:
    """Bytes that may be the upload's last must survive a loss of power, even if the draft completes it later."""
    assert ends_upload(outcome, is_last, length, 20) is expected
