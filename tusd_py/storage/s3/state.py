"""What the record of an upload says of its bytes in S3. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tusd_py.storage.s3.layout import PartLayout

#: Our key in ``Upload.storage``.
KEY = "s3"


@dataclass(frozen=True, slots=True)
class Tail:
    """An object with bytes behind the last whole part: it has a new name each time, so no earlier one is changed."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class S3State:
    """The parts (their ETags, in order) and the tails of an unfinished upload.

    Without parts and tails the upload has no bytes, or they are one complete object.
    """

    layout: PartLayout
    multipart_id: str = ""
    parts: tuple[str, ...] = ()
    tails: tuple[Tail, ...] = ()

    @property
    def tail_bytes(self) -> int:
        return sum(tail.size for tail in self.tails)

    @property
    def parts_bytes(self) -> int:
        return self.layout.start(len(self.parts))

    @property
    def offset(self) -> int:
        """How many bytes parts and tails have."""
        return self.parts_bytes + self.tail_bytes

    @property
    def is_empty(self) -> bool:
        return not self.parts and not self.tails

    def with_part(self, etag: str) -> S3State:
        """With the part that follows, which contains the tails."""
        return replace(self, parts=(*self.parts, etag), tails=())

    def with_tail(self, tail: Tail) -> S3State:
        return replace(self, tails=(*self.tails, tail))

    def cut_to(self, offset: int) -> S3State:
        """The longest prefix of parts and tails that has at most ``offset`` bytes."""
        if offset >= self.offset:
            return self
        parts = self.parts[: self.layout.index_at(offset)]
        if len(parts) < len(self.parts):
            return replace(self, parts=parts, tails=())
        tails: list[Tail] = []
        left = offset - self.parts_bytes
        for tail in self.tails:
            if tail.size > left:
                break
            left -= tail.size
            tails.append(tail)
        return replace(self, tails=tuple(tails))

    def to_storage(self, storage: Mapping[str, object]) -> Mapping[str, object]:
        """``storage`` of a record with this state in it; what belongs to others is kept."""
        others = {name: value for name, value in storage.items() if name != KEY}
        if self.is_empty and not self.multipart_id:
            return others
        return others | {
            KEY: {
                "layout": [self.layout.first, self.layout.largest],
                "multipart": self.multipart_id,
                "parts": list(self.parts),
                "tails": [[tail.key, tail.size] for tail in self.tails],
            }
        }


def from_storage(storage: Mapping[str, object], layout: PartLayout) -> S3State:
    """The state in a record; ``layout`` is that of uploads that have none yet."""
    value: Any = storage.get(KEY)
    if not isinstance(value, Mapping):
        return S3State(layout)
    sizes: Sequence[int] = value["layout"]
    return S3State(
        PartLayout(sizes[0], sizes[1]),
        value["multipart"],
        tuple(value["parts"]),
        tuple(Tail(key, size) for key, size in value["tails"]),
    )
