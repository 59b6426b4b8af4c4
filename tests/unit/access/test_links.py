"""The signed part of a link: what is accepted, and what its bearer becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import EPOCH, Clock
from tusd_py.access.errors import TokenInvalid
from tusd_py.access.links import LINK_PREFIX, LinkVerifier, link_query
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.links import Links
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.principal import Verb
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import LinkEnded
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

SIGNER = TokenSigner([("default", b"a secret of the tests, 32 bytes or more")])
LINK = Link(
    id="01",
    kind=LinkKind.UPLOAD,
    upload_id="u1",
    owner="alice",
    created_at=EPOCH,
    expires_at=EPOCH + timedelta(hours=1),
)
UPLOAD = Upload(id="u1", length=1, owner="alice", grant="link:01", created_at=EPOCH, updated_at=EPOCH)


@pytest.fixture
async def links(tmp_path: Path) -> AsyncIterator[Links]:
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    yield database.links
    await database.close()


def token_of(link: Link) -> bytes:
    return LINK_PREFIX + link_query(SIGNER, link).partition("=")[2].encode()


@pytest.mark.parametrize(
    ("link", "verbs"),
    [
        (LINK, {Verb.APPEND, Verb.INSPECT}),
        (replace(LINK, may_download=True), {Verb.APPEND, Verb.INSPECT, Verb.DOWNLOAD}),
        (replace(LINK, kind=LinkKind.DOWNLOAD), {Verb.DOWNLOAD, Verb.INSPECT}),
    ],
)
async def test_what_the_bearer_may_do(links: Links, link: Link, verbs: set[Verb]) -> None:
    """Exactly this with its upload, and nothing with others or with what is about no upload."""
    await links.add(link)
    bearer = await LinkVerifier(links, SIGNER, Clock()).verify(token_of(link))
    policy = AccessPolicy(allows_anonymous=False)
    assert {verb for verb in Verb if policy.permits(bearer, verb, UPLOAD)} == verbs
    for other in (replace(UPLOAD, id="u2"), replace(UPLOAD, id="u2", owner="")):
        assert {verb for verb in Verb if policy.permits(bearer, verb, other)} == set()
    assert {verb for verb in Verb if policy.permits(bearer, verb)} <= verbs, "no route is open to it"


async def test_ends_of_a_link(links: Links) -> None:
    """Expired, revoked and used links are refused with what happened; at an expiry a running request goes on."""
    clock = Clock()
    verifier = LinkVerifier(links, SIGNER, clock)
    await links.add(LINK)
    clock.now = LINK.expires_at
    with pytest.raises(LinkEnded, match="has expired"):
        await verifier.verify(token_of(LINK))
    assert await verifier.is_valid("01")
    await links.revoke("01", clock())
    with pytest.raises(LinkEnded, match="was revoked"):
        await verifier.verify(token_of(LINK))
    assert not await verifier.is_valid("01")
    assert not await verifier.is_valid("unknown")


async def test_what_is_no_link(links: Links) -> None:
    """A changed signature, one of another purpose, and nothing at all are refused before the database is asked."""
    await links.add(LINK)
    verifier = LinkVerifier(links, SIGNER, Clock())
    forged = LINK_PREFIX + SIGNER.sign("access code token", b"01").encode()
    for wrong in (b"", LINK_PREFIX, token_of(LINK)[:-1], token_of(LINK) + b"x", forged):
        with pytest.raises(TokenInvalid):
            await verifier.verify(wrong)
