"""Where things are: the parts of an upload by offset, and the keys of objects. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from tusd_py.model.ids import is_generated_id, is_upload_id
from tusd_py.model.upload import Upload

#: Our key in ``Upload.storage`` for the key of an object that does not follow from the default pattern.
OBJECT_KEY = "s3_key"
DEFAULT_PATTERN = "uploads/{id}"
_ID = "{id}"
_NONCE_BYTES = 8
_NONCE = f"[0-9a-f]{{{2 * _NONCE_BYTES}}}"
#: What is behind the id in the key of an attempt, and behind the prefix in that of a tail.
_ATTEMPT = re.compile(rf"\.{_NONCE}")
_TAIL = re.compile(rf"[0-9]{{20}}-{_NONCE}")
_NOTE = ".publishing"
#: In place of an id, in the keys of objects by which a process tries what S3 can do.
_PROBE = re.compile(rf"probe{_NONCE}")
#: A trial may be running before its objects are so old: no lock protects them.
PROBE_AGE = timedelta(minutes=10)

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
    """The keys of objects, below a prefix.

    ``pattern`` is that of complete uploads: its first segment has no field, and one is ``{id}``. A key that follows
    from another pattern than ``uploads/{id}`` is kept in the record, so a changed pattern is that of new uploads only.
    """

    prefix: str
    pattern: str = DEFAULT_PATTERN
    expand: Callable[[str, Upload], str] = lambda pattern, upload: pattern.replace(_ID, upload.id)

    def default(self, upload_id: str) -> str:
        """The key of the complete upload by the default pattern. Raises ``ValueError`` for what is no id."""
        return f"{self.prefix}uploads/{_checked(upload_id)}"

    def object_of(self, upload: Upload) -> str:
        """The key of the complete upload, without a nonce."""
        return str(upload.storage.get(OBJECT_KEY, "")) or self.default(upload.id)

    def new_attempt(self, upload: Upload) -> str:
        """A key for one attempt to make the object of ``upload``, which no other attempt uses.

        A nonce follows the id, in which is no dot.
        """
        key = self.object_of(upload)
        root = self.root(key, upload.id)
        return f"{root}.{secrets.token_hex(_NONCE_BYTES)}{key[len(root) :]}"

    def new_tail(self, upload_id: str, offset: int) -> str:
        """A key for a tail that begins at ``offset``, which no other tail uses."""
        return f"{self.tails(upload_id)}{offset:020d}-{secrets.token_hex(_NONCE_BYTES)}"

    def new_probe(self) -> str:
        """A key for a trial of one process. It looks like that of a tail, so it is found and removed after a crash."""
        return self.new_tail(f"probe{secrets.token_hex(_NONCE_BYTES)}", 0)

    def is_probe(self, key: str) -> bool:
        """Whether ``key`` is that of a trial. Only these are also keys of multipart uploads below ``all_tails``."""
        return key.startswith(self.all_tails) and is_probe_id(self._id_in(key))

    def is_attempt(self, found: str, key: str, upload_id: str) -> bool:
        """Whether ``found`` is the key of an attempt to make the object ``key``, which may have a nonce itself."""
        root = self.root(key, upload_id)
        rest = _ATTEMPT.sub("", key[len(root) :], count=1) if _ATTEMPT.match(key, len(root)) else key[len(root) :]
        if not found.startswith(root):
            return False
        nonce = _ATTEMPT.match(found, len(root))
        if nonce is None:
            # Without a nonce only what has a random id is ours for certain.
            return found == root + rest and is_generated_id(upload_id)
        return found[nonce.end() :] == rest

    def root(self, key: str, upload_id: str) -> str:
        """The part of a key of this upload with which the keys of all attempts begin: up to the id."""
        start = len(self.prefix) if key.startswith(self.prefix) else 0
        segments = key[start:].split("/")
        names = [segment.partition(".")[0] for segment in segments]
        index = self._id_index
        if names[index : index + 1] != [upload_id]:
            if upload_id not in names:
                return key
            index = names.index(upload_id)
        return key[:start] + "/".join([*segments[:index], upload_id])

    def storage(self, upload: Upload) -> Mapping[str, object]:
        """The storage state of a new upload: its key, unless it is the default one."""
        if self.has_default_pattern:
            return {}
        segments = self.expand(self.pattern, upload).split("/")
        # The id itself, and not what is made of it where it is no name of a file: it is looked for in keys.
        segments[self._id_index] = _checked(upload.id)
        return {OBJECT_KEY: self.prefix + "/".join(segments)}

    @property
    def mark(self) -> str:
        """The key of the mark by which the records know the bucket again. No id has a dot in its middle."""
        return f"{self.prefix}tusd-py.mark"

    def tails(self, upload_id: str) -> str:
        """The prefix of the tails of an upload."""
        return f"{self.prefix}tails/{_checked(upload_id)}/"

    @property
    def all_objects(self) -> tuple[str, ...]:
        """The prefixes of all complete uploads: by the pattern, and by the default one."""
        first = self.pattern.partition("/")[0]
        return tuple(dict.fromkeys((f"{self.prefix}{first}/", f"{self.prefix}uploads/")))

    @property
    def all_tails(self) -> str:
        return f"{self.prefix}tails/"

    @property
    def probe(self) -> str:
        return f"{self.prefix}probe"

    @property
    def all_notes(self) -> str:
        """The prefix of what publishers have to remember."""
        return f"{self.prefix}publishing/"

    def note(self, upload_id: str) -> str:
        """The key of what the publisher has to remember of an upload after a crash."""
        return f"{self.all_notes}{_checked(upload_id)}{_NOTE}"

    def upload_of(self, key: str) -> str | None:
        """The id of the upload that an object belongs to; ``None`` for an object of something else.

        Other programs may use the bucket: only a key that has a nonce, or an id that a server generates, is ours.
        """
        found = self._id_in(key)
        return found if is_upload_id(found) else None

    def _id_in(self, key: str) -> str:
        """The text in ``key`` at the place of the id; empty if there is none."""
        if key.startswith(self.all_tails):
            upload_id, _, name = key.removeprefix(self.all_tails).partition("/")
            return upload_id if _TAIL.fullmatch(name) else ""
        if key.startswith(self.all_notes):
            name = key.removeprefix(self.all_notes)
            return name.removesuffix(_NOTE) if name.endswith(_NOTE) else ""
        if not key.startswith(self.prefix):
            return ""
        segments = key.removeprefix(self.prefix).split("/")
        if len(segments) == 2 and segments[0] == "uploads":
            return _id_before_nonce(segments[1])
        has_pattern = segments[0] == self.pattern.partition("/")[0] and len(segments) == self.pattern.count("/") + 1
        return _id_before_nonce(segments[self._id_index]) if has_pattern else ""

    @property
    def has_default_pattern(self) -> bool:
        """Whether the key of an upload follows from its id."""
        return self.pattern == DEFAULT_PATTERN

    @property
    def _id_index(self) -> int:
        return self.pattern.split("/").index(_ID)


def is_probe_id(text: str) -> bool:
    """Whether ``text`` stands in place of an id in the keys of a trial."""
    return _PROBE.fullmatch(text) is not None


def _id_before_nonce(segment: str) -> str:
    upload_id, dot, nonce = segment.partition(".")
    is_ours = _ATTEMPT.fullmatch(dot + nonce) if dot else is_generated_id(upload_id)
    return upload_id if is_ours else ""


def _checked(upload_id: str) -> str:
    """The id itself, checked once more because it becomes a part of a key."""
    if not is_upload_id(upload_id):
        raise ValueError("not the id of an upload")
    return upload_id
