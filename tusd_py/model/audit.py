"""Entries of the audit log: subject, act, object, time, address and outcome. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tusd_py.model.frozen import frozen
from tusd_py.model.principal import Principal


class AuditKind(StrEnum):
    """The kind of the object of an act."""

    UPLOAD = "upload"
    ACCOUNT = "account"
    SESSION = "session"  # a login, or a chunk session
    KEY = "key"
    LINK = "link"
    CODE = "code"
    QUOTA = "quota"
    JOB = "job"
    ENDPOINT = "endpoint"
    SCHEDULE = "schedule"
    AUDIT = "audit"  # the audit log itself
    SERVER = "server"  # requests that are about no object


class AuditOutcome(StrEnum):
    """The outcome of an act."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


#: In entries about the server's own work: stands for the method of authentication.
BY_SERVER = "server"
BY_COMMAND = "command"


@frozen()
class AuditActor:
    """Who acts: the subject as it was authenticated, and the address of the client; both may be empty."""

    subject: str = ""
    method: str = "anonymous"
    address: str = ""

    @classmethod
    def of(cls, principal: Principal | None, address: str = "") -> AuditActor:
        """The actor of a request. ``principal`` is ``None`` while access control is off."""
        return cls(address=address) if principal is None else cls(principal.subject, principal.method, address)


#: The actor of acts of the server itself, such as expiring an upload.
SERVER_ACTOR = AuditActor(method=BY_SERVER)


@frozen(kw_only=True)
class AuditEntry:
    """One act. ``verb`` is a word in lower case, such as ``terminate``; ``reason`` explains the outcome.

    ``subject``, ``object_id`` and ``address`` may name a person; erasing that person replaces or empties them. No
    other field may.
    """

    at: datetime
    subject: str
    method: str
    verb: str
    kind: AuditKind
    object_id: str
    outcome: AuditOutcome = AuditOutcome.DONE
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEntry:
    """An entry with its number in the log, and the salt of its digests (see ``audit_chain``)."""

    number: int
    entry: AuditEntry
    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries to list; empty fields match everything."""

    subject: str = ""
    verb: str = ""
    kind: AuditKind | None = None
    object_id: str = ""
    outcome: AuditOutcome | None = None
    address: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """A page of a list, newest first. ``next`` is the ``before`` of the next one; ``None`` if this is the last."""

    entries: list[RecordedEntry]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A batch of entries, and the link of the hash chain that covers it.

    ``digests`` has the digest of each entry by number; it is empty for a checkpoint, whose entries are pruned.
    """

    number: int
    sealed_at: datetime
    count: int
    root: str
    previous: str  # the hash of the seal before
    hash: str
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def is_checkpoint(self) -> bool:
        return not self.digests
