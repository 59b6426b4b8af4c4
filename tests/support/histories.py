"""Checks what many clients saw of one upload: a register that only grows, on which every server must agree.

Each request to append sends one byte value of its own, so that the stored bytes say which request wrote them. With that
the check is exact and takes one pass over the history: see ``violation``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

#: Requests to append to one upload: each has a byte value of its own.
APPENDS_MAX = 255


@dataclass(frozen=True)
class Append:
    """A request with the bytes from ``start`` on, of which those before ``stop`` were stored.

    Times are numbers of the history's clock. ``ended`` is ``None`` if the client does not know the outcome: then the
    bytes may have been stored at any time after ``started``.
    """

    started: int
    ended: int | None
    start: int
    stop: int


@dataclass(frozen=True)
class Read:
    """A request that reported the offset."""

    started: int
    ended: int
    offset: int


Operation = Append | Read


@dataclass
class History:
    """The requests for one upload, as its clients noted them, by one clock: it says which ended before others began."""

    length: int
    operations: list[Operation] = field(default_factory=list)
    _clock: Iterator[int] = field(default_factory=itertools.count)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _sent: dict[int, Append] = field(default_factory=dict)

    def now(self) -> int:
        return next(self._clock)

    def read(self, started: int, offset: int) -> None:
        """Note an answer with this offset, which has just come."""
        self.operations.append(Read(started, self.now(), offset))

    def begin(self, start: int, count: int) -> tuple[int, bytes]:
        """Note a request that is to append ``count`` bytes; return its number and its body."""
        number = next(self._numbers)
        assert number <= APPENDS_MAX
        body = bytes([number]) * count
        self._sent[number] = Append(self.now(), None, start, start + count)
        return number, body

    def end(self, number: int, offset: int) -> None:
        """Note that request ``number`` was acknowledged, with this offset."""
        self._sent[number] = replace(self._sent[number], ended=self.now(), stop=offset)

    @property
    def appends(self) -> int:
        """How many requests to append have begun."""
        return len(self._sent)

    def close(self, stored: bytes) -> str | None:
        """Find out from the stored bytes which request wrote what, and add it to the operations; say what is wrong."""
        position = 0
        unwritten = dict(self._sent)
        for number, run in itertools.groupby(stored):
            count = sum(1 for _ in run)
            append = unwritten.pop(number, None)
            if append is None:
                return f"the bytes at {position} are of no request, or of one that has others elsewhere: {number}"
            if append.start != position:
                return f"the bytes that were sent for {append.start} are at {position}"
            stop = position + count
            if stop > append.stop or (append.ended is not None and stop != append.stop):
                return f"of {append} the bytes up to {stop} are stored"
            self.operations.append(replace(append, stop=stop))
            position = stop
        lost = [append for append in unwritten.values() if append.ended is not None and append.stop > append.start]
        if lost:
            return f"acknowledged, and not stored: {lost[0]}"
        self.operations.append(Read(self.now(), self.now(), len(stored)))
        return None


def violation(operations: Sequence[Operation]) -> str | None:
    """What shows that these operations are no history of a register that only grows; ``None`` if they are one.

    A function of time that never falls has to pass each read offset during its read, and the bytes of each append after
    its start and, if it was acknowledged, before its end. The lowest such function that reaches what was known at each
    end is that maximum itself; so there is one exactly if no operation begins above what it saw or wrote.
    """
    known = 0  # an offset that was reached by now
    for _, is_end, operation in _in_order(operations):
        low, high = _bounds(operation)
        if is_end:
            known = max(known, high)
        elif known > low:
            return f"{operation} began when {known} was reached"
    return None


def _bounds(operation: Operation) -> tuple[int, int]:
    """The offset that it needs at first, and the one that is reached when it ends."""
    if isinstance(operation, Read):
        return operation.offset, operation.offset
    return operation.start, operation.stop


def _in_order(operations: Sequence[Operation]) -> list[tuple[int, bool, Operation]]:
    """Starts and ends by time. No two have the same time."""
    events = [(operation.started, False, operation) for operation in operations]
    events += [(operation.ended, True, operation) for operation in operations if operation.ended is not None]
    return sorted(events, key=lambda event: event[0])


def steps(operations: Sequence[Operation]) -> list[Operation]:
    """The same history for a checker that knows only whole steps: appends are divided where a read saw them half."""
    seen = sorted({operation.offset for operation in operations if isinstance(operation, Read)})
    found: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Read):
            found.append(operation)
            continue
        bounds = [operation.start, *(at for at in seen if operation.start < at < operation.stop), operation.stop]
        found += [replace(operation, start=start, stop=stop) for start, stop in itertools.pairwise(bounds)]
    return found
