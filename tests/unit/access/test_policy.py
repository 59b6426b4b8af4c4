"""The access policy: the whole table of role, verb and ownership of the upload."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.harness import EPOCH
from tusd_py.access.policy import TABLE, AccessPolicy, Ownership, ownership_of
from tusd_py.model.principal import Principal, Role, Verb
from tusd_py.model.upload import Kind, Status, Upload

ALICE = Principal(subject="alice", roles=frozenset({Role.UPLOADER}), method="jwt")
ANONYMOUS = Principal()


def upload(owner: str) -> Upload:
    return Upload(id="u", length=4, owner=owner, created_at=EPOCH, updated_at=EPOCH)


#: One letter for each verb that is permitted, by role, for own uploads, those of others, and public ones.
EXPECTED = {
    Role.ADMIN: ("caidtobs", "caidtobs", "caidtobs"),
    Role.MODERATOR: ("caidtbs", "idt", "idt"),
    Role.UPLOADER: ("caidts", "", ""),
    Role.VIEWER: ("idb", "id", "id"),
    Role.ANONYMOUS: ("c", "", "caidt"),
    Role.UPLOAD_LINK: ("aid", "", ""),
    Role.DOWNLOAD_LINK: ("id", "", ""),
    Role.CODE: ("cait", "", ""),
}
LETTERS = {
    Verb.CREATE: "c",
    Verb.APPEND: "a",
    Verb.INSPECT: "i",
    Verb.DOWNLOAD: "d",
    Verb.TERMINATE: "t",
    Verb.OPERATE: "o",
    Verb.OBSERVE: "b",
    Verb.SHARE: "s",
}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_exactly_this(role: Role) -> None:
    """Each role may do exactly this."""
    for ownership, letters in zip((Ownership.OWN, Ownership.OTHERS, Ownership.PUBLIC), EXPECTED[role], strict=True):
        assert {LETTERS[verb] for verb in TABLE[role][ownership]} == set(letters), ownership


def test_uploads_without_an_owner_are_public() -> None:
    """Uploads without an owner are public, also for anonymous clients, which have no subject either."""
    assert ownership_of(upload("alice"), ALICE) is Ownership.OWN
    assert ownership_of(upload("bob"), ALICE) is Ownership.OTHERS
    assert ownership_of(upload(""), ALICE) is Ownership.PUBLIC
    assert ownership_of(upload(""), ANONYMOUS) is Ownership.PUBLIC


def test_own_uploads_of_a_bearer() -> None:
    """The bearer of a link or a code has the uploads of that grant, not those of the subject who gave it."""
    code = Principal(subject="alice", roles=frozenset({Role.CODE}), method="code", grant="code:1")
    link = replace(code, roles=frozenset({Role.UPLOAD_LINK}), grant="link:1", upload_id="u")
    of_code = replace(upload("alice"), grant="code:1")
    assert ownership_of(of_code, code) is Ownership.OWN
    assert ownership_of(of_code, ALICE) is Ownership.OWN
    for other in (upload("alice"), replace(of_code, grant="code:2"), replace(of_code, grant="link:1")):
        assert ownership_of(other, code) is Ownership.OTHERS
    assert ownership_of(upload(""), code) is Ownership.PUBLIC
    assert ownership_of(upload("alice"), link) is Ownership.OWN
    assert ownership_of(replace(upload("alice"), id="v", grant="link:1"), link) is Ownership.OTHERS


def test_anonymous_access_is_for_everyone() -> None:
    """Where anonymous clients are allowed, credentials never take away what works without them."""
    opened, closed = AccessPolicy(allows_anonymous=True), AccessPolicy(allows_anonymous=False)
    for principal in (ANONYMOUS, ALICE):
        assert opened.permits(principal, Verb.APPEND, upload(""))
        assert not closed.permits(principal, Verb.APPEND, upload(""))
        assert not opened.permits(principal, Verb.APPEND, upload("bob"))
    assert opened.permits(ANONYMOUS, Verb.CREATE)
    assert not closed.permits(ANONYMOUS, Verb.CREATE)
    assert not opened.permits(ANONYMOUS, Verb.OBSERVE)


def test_expired_credentials_only_inspect_own() -> None:
    """Expired credentials are enough for HEAD on the own upload, not even for what anonymous clients may."""
    expired = replace(ALICE, is_expired=True)
    for policy in (AccessPolicy(allows_anonymous=True), AccessPolicy(allows_anonymous=False)):
        assert policy.permits(expired, Verb.INSPECT, upload("alice"))
        assert not policy.permits(expired, Verb.INSPECT, upload("bob"))
        assert not policy.permits(expired, Verb.INSPECT, upload(""))
        assert not policy.permits(expired, Verb.APPEND, upload("alice"))
        assert not policy.permits(expired, Verb.CREATE)


def test_uploader_claims_an_unfinished_public_upload_for_a_while() -> None:
    """An uploader claims an unfinished public upload by HEAD, PATCH or DELETE, for a while after its last byte.

    A complete part as well: the client of a parallel upload asks for it before it creates the final upload.
    """
    policy = AccessPolicy(allows_anonymous=False, claim_seconds=60)
    soon, late = EPOCH + timedelta(seconds=59), EPOCH + timedelta(seconds=60)
    assert policy.may_claim(ALICE, Verb.APPEND, upload(""), soon)
    assert policy.may_claim(ALICE, Verb.INSPECT, upload(""), soon)
    assert not policy.may_claim(ALICE, Verb.DOWNLOAD, upload(""), soon)
    assert not policy.may_claim(ALICE, Verb.APPEND, upload(""), late)
    assert not policy.may_claim(ALICE, Verb.APPEND, upload("bob"), soon)
    assert not policy.may_claim(ANONYMOUS, Verb.APPEND, upload(""), soon)
    assert not policy.may_claim(replace(ALICE, is_expired=True), Verb.INSPECT, upload(""), soon)
    assert not policy.may_claim(replace(ALICE, roles=frozenset({Role.VIEWER})), Verb.INSPECT, upload(""), soon)
    assert not policy.may_claim(ALICE, Verb.APPEND, replace(upload(""), status=Status.READY), soon)
    part = replace(upload(""), kind=Kind.PARTIAL, status=Status.READY, length=4, offset=4, completed_at=EPOCH)
    assert policy.may_claim(ALICE, Verb.INSPECT, part, soon)
    assert not policy.may_claim(ALICE, Verb.INSPECT, part, late)
    assert not policy.may_claim(ALICE, Verb.INSPECT, replace(part, status=Status.TERMINATED), soon)
    assert not replace(policy, allows_anonymous=True).may_claim(ALICE, Verb.APPEND, upload(""), soon)


def test_verbs_of_credentials_restrict_roles() -> None:
    """Credentials with a list of verbs, such as those of an API key, permit nothing else, whatever their roles are."""
    key = Principal(subject="alice", roles=frozenset({Role.ADMIN}), verbs=frozenset({Verb.CREATE}))
    policy = AccessPolicy(allows_anonymous=False)
    assert policy.permits(key, Verb.CREATE)
    assert not policy.permits(key, Verb.OPERATE)
