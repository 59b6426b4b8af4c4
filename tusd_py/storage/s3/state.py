"""The state of an upload's bytes in S3, as its record keeps it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tusd_py.storage.s3.layout import PartLayout

#: Our key in ``Upload.storage``.
KEY = "s3"


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as S3 has answered for it. ``crc`` is ours; earlier versions recorded none."""

    etag: str
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """An object with bytes behind the last whole part: it has a new name each time, so no earlier one is changed."""

    key: str
    size: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class S3State:
    """The parts (in order) and the tails of an unfinished upload, or the object of a complete one.

    Every object and every multipart upload has a key of its own. So a process that was late, or whose lock has ended,
    cannot overwrite an object that a record names.
    """

    layout: PartLayout
    key: str = ""  # of the multipart upload; without parts and tails, of the complete object
    multipart_id: str = ""
    has_checksums: bool = False  # S3 verifies the parts of this multipart upload, and the object
    parts: tuple[StoredPart, ...] = ()
    tails: tuple[Tail, ...] = ()
    crc: int | None = None  # of the complete object

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
        """Whether there are no parts and tails: there are no bytes, or one complete object."""
        return not self.parts and not self.tails

    @property
    def object_keys(self) -> frozenset[str]:
        """The keys of the objects that the record names."""
        return frozenset(filter(None, (self.key, *(tail.key for tail in self.tails))))

    def with_part(self, part: StoredPart) -> S3State:
        """With the part that follows, which contains the tails."""
        return replace(self, parts=(*self.parts, part), tails=())

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
        value: dict[str, object] = {}
        if self.key:
            value["key"] = self.key
        if self.crc is not None:
            value["crc"] = _to_hex(self.crc)
        if not self.is_empty or self.multipart_id:
            value |= {
                "layout": [self.layout.first, self.layout.largest],
                "multipart": self.multipart_id,
                "checksums": self.has_checksums,
                "parts": [part.etag.strip('"') + _suffix(part.crc) for part in self.parts],
                "tails": [[tail.key, tail.size, _to_hex(tail.crc)] for tail in self.tails],
            }
        return others | {KEY: value} if value else others


def from_storage(storage: Mapping[str, object], layout: PartLayout) -> S3State:
    """The state in a record; ``layout`` is that of uploads that have none yet."""
    value: Any = storage.get(KEY)
    if not isinstance(value, Mapping):
        return S3State(layout)
    sizes: Sequence[int] = value.get("layout", ())
    return S3State(
        PartLayout(sizes[0], sizes[1]) if sizes else layout,
        value.get("key", ""),
        value.get("multipart", ""),
        value.get("checksums", False),
        tuple(map(_part, value.get("parts", ()))),
        tuple(Tail(key, size, _from_hex(rest[0]) if rest else None) for key, size, *rest in value.get("tails", ())),
        _from_hex(value.get("crc", "")),
    )


def _part(text: str) -> StoredPart:
    etag, _, crc = text.strip('"').partition(":")
    return StoredPart(f'"{etag}"', _from_hex(crc))


def _suffix(crc: int | None) -> str:
    return "" if crc is None else f":{crc:x}"


def _to_hex(crc: int | None) -> str:
    return "" if crc is None else f"{crc:x}"


def _from_hex(text: str) -> int | None:
    return int(text, 16) if text else None
