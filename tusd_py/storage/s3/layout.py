"""Where things are: the parts of an upload by offset, and the keys of objects. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.model.ids import is_upload_id

#: What S3 accepts: parts of one multipart upload, and the least size of each but the last.
PARTS_MAX = 10_000
PART_BYTES_MIN = 5 * 1024 * 1024
#: The size of parts doubles after each so many of them.
_PARTS_OF_ONE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class PartLayout:
    """The boundaries of parts are a function of the offset: a part that is sent again has the same bytes.

    Parts grow from ``first`` to ``largest`` bytes, so that small uploads need little memory and large ones fit in.
    """

    first: int
    largest: int

    def size(self, index: int) -> int:
        """The size of the part with this index, counted from 0."""
        return max(self.first, min(self.first << (index // _PARTS_OF_ONE_SIZE), self.largest))

    def start(self, index: int) -> int:
        """The offset at which the part begins."""
        offset, done = 0, 0
        while done < index:
            count = min(_PARTS_OF_ONE_SIZE, index - done)
            offset += count * self.size(done)
            done += count
        return offset

    def index_at(self, offset: int) -> int:
        """The index of the part that contains the byte at ``offset``."""
        index, start = 0, 0
        while True:
            size = self.size(index)
            whole = (offset - start) // size
            if whole < _PARTS_OF_ONE_SIZE:
                return index + whole
            index += _PARTS_OF_ONE_SIZE
            start += _PARTS_OF_ONE_SIZE * size

    @property
    def bytes_max(self) -> int:
        """The largest upload."""
        return self.start(PARTS_MAX)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of objects, below a prefix."""

    prefix: str

    def object(self, upload_id: str) -> str:
        """The key of the complete upload, without a nonce. Raises ``ValueError`` for what is no id."""
        return f"{self.prefix}uploads/{_checked(upload_id)}"

    def attempts(self, upload_id: str) -> str:
        """The prefix of the keys that ``attempt`` makes: ids contain no dot."""
        return f"{self.object(upload_id)}."

    def attempt(self, upload_id: str, nonce: str) -> str:
        """The key of one attempt to make the object of an upload. Each attempt has a ``nonce`` of its own."""
        return self.attempts(upload_id) + nonce

    def tails(self, upload_id: str) -> str:
        """The prefix of the tails of an upload."""
        return f"{self.prefix}tails/{_checked(upload_id)}/"

    @property
    def all_objects(self) -> str:
        return f"{self.prefix}uploads/"

    @property
    def all_tails(self) -> str:
        return f"{self.prefix}tails/"

    @property
    def probe(self) -> str:
        return f"{self.prefix}probe"

    def upload_of(self, key: str) -> str | None:
        """The id of the upload that an object belongs to; ``None`` for an object of something else."""
        if key.startswith(self.all_objects):
            return key.removeprefix(self.all_objects).partition(".")[0] or None
        if key.startswith(self.all_tails):
            upload_id, _, name = key.removeprefix(self.all_tails).partition("/")
            return upload_id if name else None
        return None


def _checked(upload_id: str) -> str:
    """The id itself, checked once more because it becomes a part of a key."""
    if not is_upload_id(upload_id):
        raise ValueError("not the id of an upload")
    return upload_id
