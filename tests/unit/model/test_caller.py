"""The client of a request as events keep it."""

from __future__ import annotations

from dataclasses import replace

from tusd_py.model.caller import Caller
from tusd_py.model.principal import Principal, Role

SECRET = b"a-secret-of-the-client"
CALLER = Caller(
    remote_address="192.0.2.1:5000",
    method="PATCH",
    target=f"/files/a?token={SECRET.decode()}&link={SECRET.decode()}",
    headers=[
        (b"host", b"uploads.example"),
        (b"authorization", SECRET),
        (b"cookie", SECRET),
        (b"x-api-key", SECRET),
        (b"upload-offset", b"0"),
    ],
    principal=Principal(subject="alice", roles=frozenset({Role.UPLOADER}), credential=SECRET.decode()),
    scope={"headers": [(b"authorization", SECRET)]},
    client="192.0.2.1",
)


def test_nothing_that_may_be_a_credential_is_recorded() -> None:
    """Neither the query, nor headers that are not known to have none, nor the principal."""
    recorded = CALLER.recorded()
    assert recorded.target == "/files/a"
    assert recorded.headers == [(b"host", b"uploads.example"), (b"upload-offset", b"0")]
    assert recorded.principal is None
    assert recorded.scope is None
    assert SECRET.decode() not in repr(recorded)
    assert SECRET in dict(CALLER.headers).values(), "the caller of the request itself is unchanged"


def test_headers_that_the_operator_has_named_are_recorded() -> None:
    """For the hooks that get them."""
    assert (b"x-api-key", SECRET) in CALLER.recorded({b"x-api-key"}).headers


def test_owner_that_a_hook_names_is_an_uploader() -> None:
    """The request is made in that name, whatever the client was; in its own name it keeps its roles."""
    principal = CALLER.acting_for("bob").principal
    assert principal is not None
    assert (principal.subject, principal.method, principal.credential) == ("bob", "hook", "")
    assert principal.roles == frozenset({Role.UPLOADER})
    assert CALLER.acting_for("alice").principal == CALLER.principal


def test_owner_that_a_hook_names_without_access_control() -> None:
    """Only the owner changes."""
    caller = replace(CALLER, principal=None).acting_for("bob")
    assert (caller.owner, caller.principal) == ("bob", None)
