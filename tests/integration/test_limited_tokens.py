"""Tokens whose claims limit their owner: nothing that they make is without these limits."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.grants import ADMIN, ALICE, call, start
from tests.support.server import RunningServer
from tests.support.tokens import bearer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start(
        tmp_path_factory.mktemp("limited") / "data",
        ACCOUNTS__API_KEYS="true",
        QUOTAS__ENABLED="true",
        QUOTAS__BYTES_PER_DAY="1000",
        JWT__LENGTH_MAX_CLAIM="length",
        JWT__ALLOWED_TYPES_CLAIM="types",
        JWT__BYTES_PER_DAY_CLAIM="day",
    )
    yield running
    running.stop()


@pytest.mark.parametrize("claims", [{"length": 5}, {"types": ["image/*"]}, {"day": 999}], ids=str)
@pytest.mark.parametrize("kind", ["keys", "codes"])
async def test_keys_and_codes_without_the_limits_of_their_maker_403(
    server: RunningServer, kind: str, claims: dict[str, object]
) -> None:
    """Neither a key nor a code has limits of its own, so a limited token makes none; an admin does it for its owner."""
    refused = await call(server, "POST", kind, {}, bearer("alice", **claims))
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "ERR_ACCESS_DENIED"), refused
    assert (await call(server, "POST", kind, {"owner": "alice"}, ADMIN)).status == 201


@pytest.mark.parametrize("kind", ["keys", "codes"])
async def test_claims_that_lower_nothing_make_keys_and_codes_201(server: RunningServer, kind: str) -> None:
    """A token without these claims, and one with a higher quota than the settings have."""
    for headers in (ALICE, bearer("alice", day=1000), bearer("alice", day=5000)):
        assert (await call(server, "POST", kind, {}, headers)).status == 201


async def test_the_types_of_a_link_are_among_those_of_its_maker_415(server: RunningServer) -> None:
    """Else the validation would accept other types of the bytes than its maker may upload."""
    maker = bearer("alice", types=["image/*"])
    terms = {"length_max": 5, "metadata": {"filetype": "image/png"}}
    for types, status in ((["image/png"], 201), (["image/*"], 201), (["text/html"], 415), (["*/*"], 415)):
        answer = await call(server, "POST", "upload-links", {**terms, "types": types}, maker)
        assert answer.status == status, (types, answer)


async def test_a_link_of_a_limited_token_says_that_it_needs_a_type_415(server: RunningServer) -> None:
    """The sentence names the member of the body that is missing, and what it may be."""
    maker = bearer("alice", types=["image/*", "text/csv"])
    for metadata in ({}, {"filename": "a.png"}, {"filetype": ""}):
        answer = await call(server, "POST", "upload-links", {"length_max": 5, "metadata": metadata}, maker)
        assert answer.status == 415
        detail = json.loads(answer.body)["detail"]
        assert "only image/*, text/csv, so metadata must have a filetype that is one of them" in detail
