"""Decides what the end of a body changes: the offset and length of the upload, its completion, the error. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class BodyOutcome(Enum):
    """How the body of a request ended."""

    WHOLE = "whole"  # the client sent all of it, and the store has it
    CUT = "cut"  # the client, a timeout, a takeover or a hook ended it early
    STORE_FAILED = "store failed"
    BYTES_MISSING = "bytes missing"  # the store has fewer bytes than the record says


class BodyEnd(NamedTuple):
    """The state after a body has ended and the store was flushed. Offsets and lengths are absolute, in bytes."""

    outcome: BodyOutcome
    #: What the request says of the upload's end. ``None`` (tus 1.0): the length alone decides. The draft's
    #: ``Upload-Complete`` says it explicitly: these are the last bytes, or more will follow.
    is_last: bool | None
    #: The upload's length once this request succeeds: known before, or declared by it.
    length: int | None
    #: The offset in the record.
    recorded: int
    #: Where the received bytes end.
    received: int
    #: Up to where the store holds them.
    stored: int
    #: Whether the store made everything as safe as it was asked to.
    is_flushed: bool


class Raises(Enum):
    """The kind of error that the request raises after the record was saved."""

    NOTHING = "nothing"
    CAUSE = "cause"  # the exception behind the outcome
    INCONSISTENT_LENGTH = "inconsistent length"


class Decision(NamedTuple):
    """The new state of the record, and the error that is raised after it was saved."""

    offset: int
    length: int | None  # ``None`` declares none
    is_complete: bool
    raises: Raises


def ends_upload(outcome: BodyOutcome, is_last: bool | None, length: int | None, received: int) -> bool:
    """Whether the bytes up to ``received`` may be the whole upload, and so must survive a loss of power."""
    return received == length or (is_last is True and length is None and outcome is BodyOutcome.WHOLE)


def decide(end: BodyEnd) -> Decision:
    """Return what becomes of an incomplete upload after a request with a body.

    Only a request that the store carried out declares a length. The upload is complete only when every byte up to its
    length is as safe as the store was asked to make it.
    """
    outcome, is_last, length, stored = end.outcome, end.is_last, end.length, end.stored
    offset = max(end.recorded, stored)
    if outcome is BodyOutcome.BYTES_MISSING:
        # The client sends the missing bytes again once the record no longer counts them.
        return Decision(_resumable(end, stored), None, False, Raises.CAUSE)
    if outcome is BodyOutcome.STORE_FAILED:
        return Decision(_resumable(end, offset), None, False, Raises.CAUSE)
    if is_last is None:
        if end.received == length:
            # Every byte arrived and none after it: complete, even if the client left before the response.
            return Decision(offset, length, offset == length, Raises.NOTHING)
        # Core, PATCH: "The Server SHOULD always attempt to store as much of the received data as possible."
        return Decision(offset, length, False, _cause(outcome))
    if not is_last or outcome is BodyOutcome.CUT:
        # The draft: an upload at its length is still not complete until a request with "Upload-Complete: ?1" arrived
        # whole.
        return Decision(offset, length, False, _cause(outcome))
    if length is None:
        # The draft: the end of a body with "Upload-Complete: ?1" is the end of the upload, and so its length.
        return Decision(offset, end.received, offset == end.received, Raises.NOTHING)
    if end.received != length:
        # The draft: all sources of the length must agree; here the body and an earlier Upload-Length do not.
        return Decision(offset, length, False, Raises.INCONSISTENT_LENGTH)
    return Decision(offset, length, offset == length, Raises.NOTHING)


def _cause(outcome: BodyOutcome) -> Raises:
    return Raises.NOTHING if outcome is BodyOutcome.WHOLE else Raises.CAUSE


def _resumable(end: BodyEnd, offset: int) -> int:
    """The offset to record after a failure of the store, from which the client resumes."""
    if end.is_last is None and not end.is_flushed and offset == end.length:
        # All bytes are stored but not as safely as required. A client that receives the full offset considers the
        # upload complete and does not return; with one byte less it does.
        return max(end.recorded, offset - 1)
    return offset
