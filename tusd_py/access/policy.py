"""The permissions of roles: one table of role, verb and ownership of the upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType

from tusd_py.model.principal import Principal, Role, Verb
from tusd_py.model.upload import Kind, Status, Upload


class Ownership(Enum):
    """How the upload belongs to the principal. Uploads without an owner are public: only their URL protects them."""

    OWN = "own"
    OTHERS = "others"
    PUBLIC = "public"


_ALL = frozenset(Verb)
_READ = frozenset({Verb.INSPECT, Verb.DOWNLOAD})
_UPLOAD = frozenset({Verb.CREATE, Verb.APPEND, Verb.TERMINATE, *_READ})
_SHARE = frozenset({Verb.SHARE})
_FILL = frozenset({Verb.APPEND, Verb.INSPECT})
_NOTHING: frozenset[Verb] = frozenset()


def _own_only(verbs: frozenset[Verb]) -> Mapping[Ownership, frozenset[Verb]]:
    return {Ownership.OWN: verbs, Ownership.OTHERS: _NOTHING, Ownership.PUBLIC: _NOTHING}


#: The verbs that a role may use. What is about no upload, such as ``CREATE`` and ``OBSERVE``, is looked up as ``OWN``.
TABLE: Mapping[Role, Mapping[Ownership, frozenset[Verb]]] = MappingProxyType(
    {
        Role.ADMIN: {Ownership.OWN: _ALL, Ownership.OTHERS: _ALL, Ownership.PUBLIC: _ALL},
        Role.MODERATOR: {
            Ownership.OWN: _UPLOAD | _SHARE | {Verb.OBSERVE},
            Ownership.OTHERS: _READ | {Verb.TERMINATE},
            Ownership.PUBLIC: _READ | {Verb.TERMINATE},
        },
        Role.UPLOADER: {Ownership.OWN: _UPLOAD | _SHARE, Ownership.OTHERS: _NOTHING, Ownership.PUBLIC: _NOTHING},
        Role.VIEWER: {Ownership.OWN: _READ | {Verb.OBSERVE}, Ownership.OTHERS: _READ, Ownership.PUBLIC: _READ},
        Role.ANONYMOUS: {
            Ownership.OWN: frozenset({Verb.CREATE}),
            Ownership.OTHERS: _NOTHING,
            Ownership.PUBLIC: _UPLOAD,
        },
        # What belongs to the bearer of a link or a code is what its grant says, not what belongs to its subject.
        # ``Principal.verbs`` takes DOWNLOAD away unless the link allows it.
        Role.UPLOAD_LINK: _own_only(_FILL | {Verb.DOWNLOAD}),
        Role.DOWNLOAD_LINK: _own_only(_READ),
        Role.CODE: _own_only(_FILL | {Verb.CREATE, Verb.TERMINATE}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Decides on requests once access control is on.

    With ``allows_anonymous`` every client may also do what ``Role.ANONYMOUS`` may. ``claim_seconds`` is how long after
    its last change an unfinished public upload, or a complete part, can be claimed by an uploader that knows its URL.
    """

    allows_anonymous: bool = True
    claim_seconds: float = 0.0

    def permits(self, principal: Principal, verb: Verb, upload: Upload | None = None) -> bool:
        """Whether ``principal`` may do this to ``upload``; ``None`` for what is about no upload."""
        ownership = Ownership.OWN if upload is None else ownership_of(upload, principal)
        roles = (*principal.roles, Role.ANONYMOUS) if self.allows_anonymous else principal.roles
        if principal.is_expired and (verb is not Verb.INSPECT or ownership is not Ownership.OWN):
            return False
        if principal.verbs is not None and verb not in principal.verbs:
            return False
        return any(verb in TABLE[role][ownership] for role in roles)

    def only_listed_owner(self, principal: Principal) -> str | None:
        """The owner to whose uploads lists are limited for ``principal``; ``None`` if they show those of all owners.

        What every client may do with public uploads does not count: only those that know their URL may.
        """
        is_for_all = any(Verb.INSPECT in TABLE[role][Ownership.OTHERS] for role in principal.roles)
        return None if is_for_all else principal.subject

    def may_claim(self, principal: Principal, verb: Verb, upload: Upload, now: datetime) -> bool:
        """Whether this request makes ``principal`` the owner of a public upload."""
        return (
            verb in (Verb.INSPECT, Verb.APPEND, Verb.TERMINATE)
            and not upload.owner
            and not self.allows_anonymous
            and not principal.is_anonymous
            and not principal.is_expired
            and Role.UPLOADER in principal.roles
            and (principal.verbs is None or verb in principal.verbs)
            and (upload.status is Status.UPLOADING or _is_waiting_part(upload))
            and now < upload.updated_at + timedelta(seconds=self.claim_seconds)
        )


def _is_waiting_part(upload: Upload) -> bool:
    """Whether it is a complete part, which the client of a parallel upload asks for before it creates the final one."""
    return upload.kind is Kind.PARTIAL and upload.is_complete and not upload.has_ended


def ownership_of(upload: Upload, principal: Principal) -> Ownership:
    if principal.grant:
        is_own = upload.id == principal.upload_id if principal.upload_id else upload.grant == principal.grant
        return Ownership.OWN if is_own else Ownership.PUBLIC if not upload.owner else Ownership.OTHERS
    if not upload.owner:
        return Ownership.PUBLIC
    return Ownership.OWN if upload.owner == principal.subject else Ownership.OTHERS
