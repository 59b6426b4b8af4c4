"""The links of each database: state, lists, single use, and what is left to do after their end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.contracts.links import Links
from tusd_py.model.links import Link, LinkKind, LinkState
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINK = Link(
    id="01",
    kind=LinkKind.UPLOAD,
    upload_id="u1",
    owner="alice",
    created_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    types=("image/*",),
    origins=("https://example.com",),
)
DOWNLOAD = replace(LINK, id="d1", kind=LinkKind.DOWNLOAD, types=(), is_single_use=True)


@pytest.fixture
def links(database: SqlDatabase) -> Links:
    return database.links


async def test_life_of_a_link(links: Links) -> None:
    """A link is found as it was added, revoked once, settled after its end and forgotten later."""
    await links.add(LINK)
    assert await links.find("01") == LINK
    assert await links.find("02") is None
    assert LINK.state(NOW) is LinkState.ACTIVE
    assert LINK.state(LINK.expires_at) is LinkState.EXPIRED
    assert await links.ended(NOW, 10) == []
    assert [await links.revoke("01", NOW), await links.revoke("01", NOW), await links.revoke("02", NOW)] == [
        True,
        False,
        False,
    ]
    revoked = replace(LINK, revoked_at=NOW)
    assert await links.ended(NOW, 10) == [revoked]
    assert revoked.state(NOW) is LinkState.REVOKED
    await links.settle("01", NOW)
    assert await links.ended(NOW + timedelta(days=1), 10) == []
    assert await links.prune(NOW, 10) == 0
    assert await links.prune(NOW + timedelta(seconds=1), 10) == 1
    assert await links.find("01") is None


async def test_lists_are_pages_of_one_owner_and_kind(links: Links) -> None:
    """Lists are newest first, of one kind and, if asked for, one owner; the next page begins after an id."""
    made = [replace(LINK, id=f"{number:02}", owner="alice" if number % 2 else "bob") for number in range(6)]
    for link in [*made, DOWNLOAD]:
        await links.add(link)
    page = await links.list_links(LinkKind.UPLOAD, owner="alice", limit=2)
    assert [link.id for link in page] == ["05", "03"]
    assert [link.id for link in await links.list_links(LinkKind.UPLOAD, owner="alice", before_id="03", limit=2)] == [
        "01"
    ]
    assert len(await links.list_links(LinkKind.UPLOAD, limit=10)) == 6
    assert await links.list_links(LinkKind.DOWNLOAD, limit=10) == [DOWNLOAD]


async def test_a_single_use_has_one_user_at_a_time(links: Links) -> None:
    """While one download runs another is refused; one that broke off frees the link, as does a claim that has ended."""
    await links.add(DOWNLOAD)
    until = NOW + timedelta(seconds=60)
    assert await links.claim_use("d1", "a", NOW, until, 60)
    assert not await links.claim_use("d1", "b", NOW, until, 60)
    assert await links.claim_use("d1", "a", NOW, until, 60), "its user may renew it"
    await links.release_use("d1", "b", 5, 0, NOW)
    assert not await links.claim_use("d1", "b", NOW, until, 60), "only its user releases it"
    await links.release_use("d1", "a", 60, 100, NOW)
    assert not await links.claim_use("d1", "b", NOW, until, 59), "it has sent 60 bytes"
    assert await links.claim_use("d1", "b", NOW, until, 60)
    assert await links.claim_use("d1", "c", until, until + timedelta(seconds=60), 60), "its process may have died"
    await links.release_use("d1", "c", 40, 100, NOW)
    found = await links.find("d1")
    assert found is not None and found.state(NOW) is LinkState.USED
    assert not await links.claim_use("d1", "d", until, until, 100)


async def test_a_single_use_ends_with_the_last_byte(links: Links) -> None:
    """A maximum of 0 bytes means that the last byte was sent: the link is used, however few bytes that took."""
    await links.add(DOWNLOAD)
    assert await links.claim_use("d1", "a", NOW, NOW + timedelta(seconds=60), 0)
    await links.release_use("d1", "a", 1, 0, NOW)
    found = await links.find("d1")
    assert found is not None and found.used_at == NOW
