"""Create a link: with the upload that its bearer may fill, or for an existing upload."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tusd_py.contracts.body import RequestBody
from tusd_py.contracts.links import Links
from tusd_py.model.caller import Caller
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.upload import Upload
from tusd_py.protocol.metadata import format_metadata
from tusd_py.protocol.requests import Create
from tusd_py.uploads.create import create
from tusd_py.uploads.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """The terms of a new link. ``length`` is that of the upload if it is known, ``length_max`` its bound otherwise."""

    owner: str
    seconds: int
    length: int | None = None
    length_max: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    types: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    may_download: bool = False


def new_id(at: datetime) -> str:
    """A random id that begins with the time in milliseconds, so that ids sort by it."""
    return f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(8)}"


async def create_upload_link(ports: Ports, terms: LinkTerms, caller: Caller, body: RequestBody) -> tuple[Link, Upload]:
    """Create the upload of a new link, and the link, in one transaction with the reservation of its quota.

    The upload is created as by any other request: limits, hooks, events and rates apply. ``body`` is the empty body.
    Raises as ``create`` does.
    """
    now = ports.clock()
    link = Link(
        id=new_id(now),
        kind=LinkKind.UPLOAD,
        upload_id="",
        owner=terms.owner,
        created_at=now,
        expires_at=now + timedelta(seconds=terms.seconds),
        types=terms.types,
        origins=terms.origins,
        may_download=terms.may_download,
    )
    metadata = format_metadata({name: value.encode() for name, value in terms.metadata}) if terms.metadata else None
    request = Create(
        length=terms.length,
        metadata_header=metadata,
        length_max=None if terms.length is not None else terms.length_max,
    )
    created = await create(ports, request, replace(caller, owner=terms.owner, new_link=link), body)
    return replace(link, upload_id=created.upload.id), created.upload


async def create_download_link(
    ports: Ports, links: Links, upload: Upload, seconds: int, origins: tuple[str, ...], *, is_single_use: bool
) -> Link:
    """Create a link to the bytes of ``upload``, valid for ``seconds``."""
    now = ports.clock()
    link = Link(
        id=new_id(now),
        kind=LinkKind.DOWNLOAD,
        upload_id=upload.id,
        owner=upload.owner,
        created_at=now,
        expires_at=now + timedelta(seconds=seconds),
        origins=origins,
        is_single_use=is_single_use,
    )
    await links.add(link)
    return link
