"""Upload links and download links: URLs that let their bearer do one thing without credentials. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: The prefix of ``Upload.grant`` and ``Principal.grant`` for uploads of a link.
LINK_GRANT = "link:"


class LinkKind(StrEnum):
    """The kind of a link: the act that it permits to its bearer."""

    UPLOAD = "upload"  # fill one upload
    DOWNLOAD = "download"  # read the bytes of one upload


class LinkState(StrEnum):
    ACTIVE = "active"
    USED = "used"  # a download link for a single use
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link. Its URL has a signature of ``id``, which is kept nowhere.

    ``owner`` is the subject whose upload it is about; it may list and revoke the link. ``types`` are the media
    types that an upload may have, ``origins`` the origins of web pages that may use the link; empty allows all.
    """

    id: str
    kind: LinkKind
    upload_id: str
    owner: str
    created_at: datetime
    expires_at: datetime
    types: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    may_download: bool = False  # of an upload link: its bearer may also read the bytes
    is_single_use: bool = False  # of a download link
    revoked_at: datetime | None = None
    used_at: datetime | None = None
    settled_at: datetime | None = None  # nothing is left to do after its end
    bytes_sent: int = 0  # by its uses that have ended, if it is for a single use

    @property
    def grant(self) -> str:
        return f"{LINK_GRANT}{self.id}"

    def state(self, now: datetime) -> LinkState:
        if self.revoked_at is not None:
            return LinkState.REVOKED
        if self.used_at is not None:
            return LinkState.USED
        return LinkState.EXPIRED if now >= self.expires_at else LinkState.ACTIVE
