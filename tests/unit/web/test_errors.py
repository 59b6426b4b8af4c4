"""The table of what the world did wrong: complete, and never a status that makes a client forget its upload."""

from __future__ import annotations

import inspect

import pytest

from tusd_py.contracts import body, hooks, locker, records, store
from tusd_py.protocol.errors import OffsetMismatch, TusError
from tusd_py.web import errors
from tusd_py.web.errors import TABLE, InternalError, NotReady, to_refusal

CONTRACT_FAILURES = [
    failure
    for module in (hooks, locker, records, body, store)
    for _, failure in inspect.getmembers(module, inspect.isclass)
    if issubclass(failure, Exception) and failure.__module__ == module.__name__
]
REFUSALS = [
    told
    for _, told in inspect.getmembers(errors, inspect.isclass)
    if issubclass(told, TusError) and told.__module__ == errors.__name__
]


@pytest.mark.parametrize("failure", CONTRACT_FAILURES)
def test_every_failure_of_a_contract_has_an_answer(failure: type[Exception]) -> None:
    """Itself or its base stands in the table, and its own text never reaches the client."""
    assert len(CONTRACT_FAILURES) >= 13
    told = to_refusal(failure("secret"), "PATCH")
    assert not isinstance(told, InternalError)
    assert any(base in TABLE for base in failure.__mro__)
    assert "secret" not in str(told)


@pytest.mark.parametrize("failure", [*CONTRACT_FAILURES, OSError])
def test_head_is_never_told_a_passing_failure_as_final(failure: type[Exception]) -> None:
    """Clients begin anew after a 5xx on HEAD; only bytes that are truly gone, and disks that are full, say so."""
    told = to_refusal(failure("no"), "HEAD")
    of_creations = (records.RecordExists, store.PathTaken)
    assert told.status == 423 or failure in (store.BytesMissing, store.StoreFull, *of_creations)


def test_the_most_derived_class_counts() -> None:
    """507 for a full disk, though every store error has 503."""
    assert to_refusal(store.StoreFull(), "PATCH").status == 507
    assert to_refusal(store.StoreUnavailable(), "PATCH").status == 503
    assert to_refusal(FileNotFoundError(), "PATCH").status == 503


def test_refusals_pass_and_bugs_are_ours() -> None:
    """What the protocol refuses goes through as it is; what nobody foresaw is 500."""
    mismatch = OffsetMismatch(1, 2)
    assert to_refusal(mismatch, "HEAD") is mismatch
    assert to_refusal(ZeroDivisionError("secret"), "PATCH").status == 500
    assert isinstance(to_refusal(hooks.HookFailed("secret"), "HEAD"), NotReady)


@pytest.mark.parametrize("told", REFUSALS)
def test_every_refusal_says_something(told: type[TusError]) -> None:
    """A status, a code of its own and a sentence; who should come back soon is told when."""
    assert len({other.code for other in REFUSALS}) == len(REFUSALS)
    assert len(str(told())) > 20
    assert (told.retry_after_seconds is not None) == (told.status in (423, 503))
