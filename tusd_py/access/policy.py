"""What each role may do: one table of role, verb and whose upload it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType

from tusd_py.model.principal import Principal, Role, Verb
from tusd_py.model.upload import Status, Upload


class Whose(Enum):
    """Whose upload a request is about. Uploads without an owner are public: their URL is all that protects them."""

    OWN = "own"
    OTHERS = "others"
    PUBLIC = "public"


_ALL = frozenset(Verb)
_READ = frozenset({Verb.INSPECT, Verb.DOWNLOAD})
_UPLOAD = frozenset({Verb.CREATE, Verb.APPEND, Verb.TERMINATE, *_READ})
_NOTHING: frozenset[Verb] = frozenset()

#: The verbs that a role may use. What has no upload (``CREATE``, ``OBSERVE``, ``OPERATE``) is looked up as ``OWN``.
TABLE: Mapping[Role, Mapping[Whose, frozenset[Verb]]] = MappingProxyType(
    {
        Role.ADMIN: {Whose.OWN: _ALL, Whose.OTHERS: _ALL, Whose.PUBLIC: _ALL},
        Role.MODERATOR: {
            Whose.OWN: _UPLOAD | {Verb.OBSERVE},
            Whose.OTHERS: _READ | {Verb.TERMINATE},
            Whose.PUBLIC: _READ | {Verb.TERMINATE},
        },
        Role.UPLOADER: {Whose.OWN: _UPLOAD, Whose.OTHERS: _NOTHING, Whose.PUBLIC: _NOTHING},
        Role.VIEWER: {Whose.OWN: _READ | {Verb.OBSERVE}, Whose.OTHERS: _READ, Whose.PUBLIC: _READ},
        Role.ANONYMOUS: {Whose.OWN: frozenset({Verb.CREATE}), Whose.OTHERS: _NOTHING, Whose.PUBLIC: _UPLOAD},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Decides on requests once access control is on.

    With ``allows_anonymous`` every client may also do what ``Role.ANONYMOUS`` may. ``claim_seconds`` is how long after
    its last change an unfinished public upload can be claimed by an uploader who knows its URL.
    """

    allows_anonymous: bool = True
    claim_seconds: float = 0.0

    def permits(self, principal: Principal, verb: Verb, upload: Upload | None = None) -> bool:
        """Whether ``principal`` may do this to ``upload``; ``None`` for what is about no upload."""
        whose = Whose.OWN if upload is None else whose_is(upload, principal)
        roles = (*principal.roles, Role.ANONYMOUS) if self.allows_anonymous else principal.roles
        if principal.is_expired and (verb is not Verb.INSPECT or whose is not Whose.OWN):
            return False
        return any(verb in TABLE[role][whose] for role in roles)

    def may_claim(self, principal: Principal, verb: Verb, upload: Upload, now: datetime) -> bool:
        """Whether this request makes ``principal`` the owner of a public upload."""
        return (
            verb in (Verb.INSPECT, Verb.APPEND, Verb.TERMINATE)
            and not upload.owner
            and not self.allows_anonymous
            and not principal.is_anonymous
            and not principal.is_expired
            and Role.UPLOADER in principal.roles
            and upload.status is Status.UPLOADING
            and now < upload.updated_at + timedelta(seconds=self.claim_seconds)
        )


def whose_is(upload: Upload, principal: Principal) -> Whose:
    if not upload.owner:
        return Whose.PUBLIC
    return Whose.OWN if upload.owner == principal.subject else Whose.OTHERS
