"""Making links: many by one application, ids in the order of time, and the upload as a hook wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import EPOCH
from tests.unit.uploads.test_expire_grants import Grants
from tusd_py.contracts.hooks import HookEvent, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.protocol.errors import TooManyEmptyUploads, UploadRejected
from tusd_py.records.sql.database import SqlDatabase
from tusd_py.uploads.client_limits import EmptyUploads
from tusd_py.uploads.create_link import new_id

pytestmark = pytest.mark.anyio


@pytest.fixture
async def grants(tmp_path: Path) -> AsyncIterator[Grants]:
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    yield Grants(database)
    await database.close()


def test_ids_are_in_the_order_of_time() -> None:
    """Lists are in the order of ids, so an id begins with the time in milliseconds."""
    times = [EPOCH + timedelta(milliseconds=number) for number in range(50)]
    ids = [new_id(at) for at in times]
    assert ids == sorted(ids)
    assert len({new_id(EPOCH) for _ in range(100)}) == 100


async def test_links_do_not_count_as_empty_uploads_of_their_maker(grants: Grants) -> None:
    """An application makes links for many clients; uploads that it creates itself without bytes are limited."""
    harness = grants.harness
    harness.caller = replace(harness.caller, client="192.0.2.1")
    harness.ports = replace(harness.ports, empty_uploads=EmptyUploads(2))
    for _ in range(5):
        await grants.link(length=1)
    for _ in range(2):
        await harness.create(1)
    with pytest.raises(TooManyEmptyUploads):
        await harness.create(1)
    await grants.link(length=1)


async def test_a_link_lives_at_least_as_long_as_its_upload(grants: Grants) -> None:
    """A link for longer than unfinished uploads are kept keeps its upload until the link expires."""
    grants.harness.ports = replace(
        grants.harness.ports, policy=replace(grants.harness.ports.policy, unfinished_seconds=60)
    )
    link, upload = await grants.link(length=1)
    assert upload.expires_at == link.expires_at


async def test_hooks_choose_the_id_and_may_refuse(grants: Grants) -> None:
    """pre-create is asked when the link is made: the link is for the id that it chooses, or there is no link."""
    responses = [HookResponse(upload_id="chosen"), HookResponse(reject=True)]

    def pre_create(_event: HookEvent) -> HookResponse:
        return responses.pop(0)

    handler = CallableHooks({Hook.PRE_CREATE: pre_create}, 5.0, lambda _hook, _failed: None)
    grants.harness.ports = replace(grants.harness.ports, hooks=handler)
    link, upload = await grants.link(length=1)
    assert (link.upload_id, upload.id) == ("chosen", "chosen")
    found = await grants.database.links.find(link.id)
    assert found is not None and found.upload_id == "chosen"
    with pytest.raises(UploadRejected):
        await grants.link(length=1)
    assert len(await grants.database.links.list_links(link.kind, limit=9)) == 1
