"""The hash chain of the audit log: digests of entries, seals over batches of them, and how a person is erased.

The digest of an entry does not cover its ``subject``, ``object_id`` and ``address`` themselves but a salted commitment
to each. Erasing one of them replaces its salt by the commitment: the digest stays the same, and without the salt the
text cannot be found out, not even by guessing. An entry has one random salt, from which those of the three
fields are derived; once a field is erased, the entry has the salts of the others only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tusd_py.model.audit import AuditEntry, RecordedEntry, Seal

#: The ``previous`` of the first seal.
START = "0" * 64
_VERSION = 1
_FIELDS = ("subject", "object_id", "address")
_SALTED, _COMMITTED = "s", "c"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def digest(recorded: RecordedEntry) -> str:
    """The digest of an entry, the same before and after the erasure of a person."""
    entry = recorded.entry
    return _hash(
        _canonical(
            [
                _VERSION,
                recorded.number,
                _microseconds(entry.at),
                entry.method,
                entry.verb,
                entry.kind,
                entry.outcome,
                entry.reason,
                *_commitments(recorded.salt, entry).values(),
            ]
        ),
        b"",
    )


def erased_salt(recorded: RecordedEntry, fields: Collection[str]) -> str:
    """The salt of the entry once these fields are erased: it keeps the digest, but not their values."""
    commitments = _commitments(recorded.salt, recorded.entry)
    salts = _salts(recorded.salt)
    return ":".join(_COMMITTED + commitments[name] if name in fields else salts[name] for name in _FIELDS)


def has_erased(salt: str) -> bool:
    """Whether a field of the entry with this salt is erased."""
    return _COMMITTED in {part[:1] for part in salt.split(":")} if ":" in salt else False


def seal(entries: Sequence[RecordedEntry], before: Seal | None, now: datetime, key: bytes = b"") -> Seal:
    """The seal over ``entries``, which follows ``before``. With a ``key`` only its holders can make one."""
    digests = {recorded.number: digest(recorded) for recorded in entries}
    number, previous = (1, START) if before is None else (before.number + 1, before.hash)
    root = root_of(digests)
    made = Seal(
        number=number, sealed_at=now, count=len(digests), root=root, previous=previous, hash="", digests=digests
    )
    return Seal(
        number=number,
        sealed_at=now,
        count=len(digests),
        root=root,
        previous=previous,
        hash=hash_of(made, key),
        digests=digests,
    )


def hash_of(made: Seal, key: bytes = b"") -> str:
    """The hash that a seal with these values must have."""
    values = [_VERSION, made.number, _microseconds(made.sealed_at), made.count, made.root, made.previous]
    return _hash(_canonical(values), key)


def root_of(digests: Mapping[int, str]) -> str:
    """The digest over those of all entries of a batch."""
    return _hash(_canonical([[number, digests[number]] for number in sorted(digests)]), b"")


def _commitments(salt: str, entry: AuditEntry) -> dict[str, str]:
    values = (entry.subject, entry.object_id, entry.address)
    return {
        name: part[1:] if part[0] == _COMMITTED else _hash(value.encode(), bytes.fromhex(part[1:]))
        for (name, part), value in zip(_salts(salt).items(), values, strict=True)
    }


def _salts(salt: str) -> dict[str, str]:
    """By field its salt or, if it is erased, its commitment; the first character says which."""
    if ":" in salt:
        return dict(zip(_FIELDS, salt.split(":"), strict=True))
    return {name: _SALTED + _hash(name.encode(), bytes.fromhex(salt)) for name in _FIELDS}


def _hash(content: bytes, key: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest() if key else hashlib.sha256(content).hexdigest()


def _canonical(values: Sequence[object]) -> bytes:
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode()


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
