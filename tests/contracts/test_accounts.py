"""Accounts, sessions and API keys of each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.model.account import Account, AccountChanges, ApiKey, LoginSession
from tusd_py.model.audit import AuditEntry, AuditFilter, AuditKind
from tusd_py.model.codes import AccessCode
from tusd_py.model.links import Link, LinkKind
from tusd_py.model.principal import PrincipalLimits, Role, Verb
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ALICE = Account(id="a1", name="alice", password_hash="h1", roles=frozenset({Role.UPLOADER}), created_at=NOW)
SESSION = LoginSession(id="s1", account_id="a1", digest="d0", created_at=NOW, expires_at=LATER, rotated_at=NOW)
KEY = ApiKey(
    id="k1",
    digest="d",
    label="nightly",
    owner="alice",
    roles=frozenset({Role.UPLOADER, Role.VIEWER}),
    verbs=frozenset({Verb.CREATE, Verb.APPEND}),
    created_at=NOW,
)


async def test_accounts_come_back(database: SqlDatabase) -> None:
    """An account is found as it was added; a second one with its name is refused; lists go by name in pages."""
    accounts = database.accounts
    assert await accounts.add(ALICE)
    assert not await accounts.add(replace(ALICE, id="a2"))
    bob = replace(ALICE, id="a3", name="bob", roles=frozenset({Role.ADMIN, Role.VIEWER}), is_disabled=True)
    assert await accounts.add(bob)
    assert await accounts.find("alice") == ALICE
    assert await accounts.find("carol") is None
    assert await accounts.list_accounts() == [ALICE, bob]
    assert await accounts.list_accounts(after_name="alice", limit=1) == [bob]


async def test_changes_end_sessions(database: SqlDatabase) -> None:
    """A new password and disabling end the sessions and raise the generation; a new hash alone and roles do not."""
    accounts = database.accounts
    await accounts.add(ALICE)
    assert await accounts.open_session(ALICE, SESSION, sessions_max=9)
    assert await accounts.set_password(ALICE, "h2", revokes=False)
    assert await accounts.set_roles("alice", frozenset({Role.ADMIN}))
    found = await accounts.find("alice")
    assert found == replace(ALICE, password_hash="h2", roles=frozenset({Role.ADMIN}), logged_in_at=NOW)
    assert await accounts.find_session("s1") == (SESSION, found)
    assert await accounts.set_password(found, "h3", revokes=True)
    assert not await accounts.set_password(found, "h4", revokes=True)
    assert await accounts.find_session("s1") is None
    changed = await accounts.find("alice")
    assert changed is not None
    assert (changed.generation, changed.password_hash) == (1, "h3")
    assert not await accounts.open_session(found, SESSION, sessions_max=9)
    assert await accounts.open_session(changed, SESSION, sessions_max=9)
    assert await accounts.set_disabled("alice", True, NOW)
    assert await accounts.find_session("s1") is None
    disabled = await accounts.find("alice")
    assert disabled is not None
    assert (disabled.is_disabled, disabled.generation) == (True, 2)
    assert not await accounts.set_disabled("carol", True, NOW)


async def test_disabling_ends_the_links_and_codes_of_the_owner(database: SqlDatabase) -> None:
    """They end in the transaction that disables; those of others, and what had ended before, stay as they are."""
    await database.accounts.add(ALICE)
    link = Link(id="01", kind=LinkKind.UPLOAD, upload_id="u1", owner="alice", created_at=NOW, expires_at=LATER)
    old = replace(link, id="02", upload_id="u2")
    others = replace(link, id="03", upload_id="u3", owner="bob")
    for each in (link, old, others):
        await database.links.add(each)
    await database.links.revoke("02", NOW - timedelta(hours=1))
    code = AccessCode(id="c1", owner="alice", created_at=NOW, expires_at=LATER)
    expired = replace(code, id="c2", expires_at=NOW)
    for number, each_code in enumerate((code, expired, replace(code, id="c3", owner="bob"))):
        await database.codes.add(each_code, f"digest {number}")
    assert await database.accounts.set_disabled("alice", False, NOW)
    assert await database.links.find("01") == link
    assert await database.accounts.set_disabled("alice", True, NOW)
    assert await database.links.find("01") == replace(link, revoked_at=NOW)
    assert await database.links.find("02") == replace(old, revoked_at=NOW - timedelta(hours=1))
    assert await database.links.find("03") == others
    assert await database.codes.find("c1") == replace(code, terminated_at=NOW)
    assert await database.codes.find("c2") == expired
    assert await database.codes.find("c3") == replace(code, id="c3", owner="bob")


async def test_rotation_happens_once(database: SqlDatabase) -> None:
    """Of requests that rotate the same session at once, one succeeds."""
    accounts = database.accounts
    await accounts.add(ALICE)
    await accounts.open_session(ALICE, SESSION, sessions_max=9)
    rotated = await asyncio.gather(
        *(accounts.rotate(SESSION, f"d{number}", NOW, LATER + timedelta(hours=1)) for number in range(1, 9))
    )
    assert rotated.count(True) == 1
    found = await accounts.find_session("s1")
    assert found is not None
    assert (found[0].rotation, found[0].digest) == (1, f"d{rotated.index(True) + 1}")
    await accounts.close_session("s1")
    assert await accounts.find_session("s1") is None


async def test_expired_sessions_are_forgotten(database: SqlDatabase) -> None:
    """A login deletes what expired before it."""
    accounts = database.accounts
    await accounts.add(ALICE)
    await accounts.open_session(ALICE, SESSION, sessions_max=9)
    after = replace(SESSION, id="s2", created_at=LATER + timedelta(seconds=1), expires_at=LATER + timedelta(hours=1))
    await accounts.open_session(ALICE, after, sessions_max=9)
    assert await accounts.find_session("s1") is None
    assert await accounts.find_session("s2") is not None


async def test_sessions_of_one_account_are_bounded(database: SqlDatabase) -> None:
    """The session that was not renewed for the longest time ends first; those of others and the new one never do."""
    accounts = database.accounts
    await accounts.add(ALICE)
    await accounts.add(replace(ALICE, id="b1", name="bob"))
    bob = replace(ALICE, id="b1", name="bob")
    await accounts.open_session(bob, replace(SESSION, id="bobs", account_id="b1"), sessions_max=3)
    for number in range(3):
        at = NOW + timedelta(seconds=number)
        await accounts.open_session(ALICE, replace(SESSION, id=f"s{number}", rotated_at=at), sessions_max=3)
    found = await accounts.find_session("s0")
    assert found is not None
    assert await accounts.rotate(found[0], "d1", NOW + timedelta(seconds=9), LATER)
    for number in range(3, 5):
        at = NOW + timedelta(seconds=10 if number == 3 else 1)  # a clock that was set back
        await accounts.open_session(ALICE, replace(SESSION, id=f"s{number}", rotated_at=at), sessions_max=3)
    left = [name for name in ("s0", "s1", "s2", "s3", "s4", "bobs") if await accounts.find_session(name) is not None]
    assert left == ["s0", "s3", "s4", "bobs"]


async def test_several_changes_are_one_transaction(database: SqlDatabase) -> None:
    """A password, roles and a switch at once: all of it, or nothing if the account has changed since it was read."""
    accounts, admin = database.accounts, frozenset({Role.ADMIN})
    await accounts.add(ALICE)
    await accounts.open_session(ALICE, SESSION, sessions_max=9)
    assert await accounts.change(ALICE, AccountChanges(), NOW)
    assert await accounts.change(ALICE, AccountChanges(roles=admin), NOW)
    assert await accounts.find_session("s1") is not None
    entries = [
        AuditEntry(at=NOW, subject="", method="command", verb=verb, kind=AuditKind.ACCOUNT, object_id="alice")
        for verb in ("set-password", "disable")
    ]
    changes = AccountChanges(password_hash="h2", roles=frozenset({Role.VIEWER}), is_disabled=True)
    assert await accounts.change(ALICE, changes, NOW, entries)
    changed = await accounts.find("alice")
    assert changed is not None and changed.generation == 2
    assert (changed.password_hash, changed.roles, changed.is_disabled) == ("h2", frozenset({Role.VIEWER}), True)
    assert await accounts.find_session("s1") is None
    assert not await accounts.change(
        ALICE, AccountChanges(password_hash="h3", roles=admin, is_disabled=False), NOW, entries
    )
    assert await accounts.find("alice") == changed
    assert not await accounts.change(replace(ALICE, name="carol"), AccountChanges(roles=admin), NOW)
    recorded = await database.audit_log.list_entries(AuditFilter(), limit=9)
    assert [each.entry.verb for each in recorded] == ["disable", "set-password"]


async def test_deletion_takes_sessions_along(database: SqlDatabase) -> None:
    """A deleted account is gone with its sessions."""
    accounts = database.accounts
    await accounts.add(ALICE)
    await accounts.open_session(ALICE, SESSION, sessions_max=9)
    assert await accounts.delete("alice")
    assert not await accounts.delete("alice")
    assert (await accounts.find("alice"), await accounts.find_session("s1")) == (None, None)


async def test_api_keys(database: SqlDatabase) -> None:
    """Keys come back as they were added, are revoked once, and are listed by owner."""
    keys = database.api_keys
    limits = PrincipalLimits(length_max=5, types=("image/*", "text/csv"))
    other = replace(KEY, id="k2", owner="bob", verbs=None, expires_at=LATER, limits=limits)
    for each in (KEY, other):
        await keys.add(each)
    assert await keys.find("k1") == KEY
    assert await keys.find("k3") is None
    assert await keys.list_keys() == [KEY, other]
    assert await keys.list_keys(owner="bob") == [other]
    assert await keys.list_keys(after_id="k1") == [other]
    await keys.used("k1", LATER)
    assert await keys.revoke("k1", NOW)
    assert not await keys.revoke("k1", LATER)
    assert await keys.find("k1") == replace(KEY, revoked_at=NOW, last_used_at=LATER)
    assert await keys.delete_of("alice") == 1
    assert await keys.list_keys() == [other]


def test_validity_of_a_key() -> None:
    """Revoked and expired keys are not valid."""
    assert KEY.is_valid(NOW)
    assert not replace(KEY, revoked_at=NOW).is_valid(NOW)
    expiring = replace(KEY, expires_at=LATER)
    assert (expiring.is_valid(NOW), expiring.is_valid(LATER)) == (True, False)
