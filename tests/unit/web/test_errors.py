"""``to_refusal``: complete for all contracts, and no status for HEAD that makes a client restart its upload."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import pytest

from tusd_py import contracts
from tusd_py.contracts import hooks, records, store
from tusd_py.protocol.errors import OffsetMismatch, TusError
from tusd_py.web import errors
from tusd_py.web.errors import TABLE, InternalError, NotReady, to_refusal

CONTRACT_MODULES = [
    import_module(f"{contracts.__name__}.{found.name}") for found in pkgutil.iter_modules(contracts.__path__)
]
CONTRACT_FAILURES = [
    failure
    for module in CONTRACT_MODULES
    for _, failure in inspect.getmembers(module, inspect.isclass)
    if issubclass(failure, Exception) and failure.__module__ == module.__name__
]
REFUSALS = [
    refusal
    for _, refusal in inspect.getmembers(errors, inspect.isclass)
    if issubclass(refusal, TusError) and refusal.__module__ == errors.__name__
]


@pytest.mark.parametrize("failure", CONTRACT_FAILURES)
def test_every_contract_exception_has_a_refusal(failure: type[Exception]) -> None:
    """The table has it or a base class of it, and its own text is not part of the refusal."""
    assert len(CONTRACT_FAILURES) >= 18
    refusal = to_refusal(failure("secret"), "PATCH")
    assert not isinstance(refusal, InternalError)
    assert any(base in TABLE for base in failure.__mro__)
    assert "secret" not in str(refusal)


@pytest.mark.parametrize("failure", [*CONTRACT_FAILURES, OSError])
def test_head_failure_that_may_pass_423(failure: type[Exception]) -> None:
    """Clients restart after a 5xx to HEAD, so only missing bytes and a full store are answered with one."""
    refusal = to_refusal(failure("no"), "HEAD")
    of_creations = (records.RecordExists, store.PathTaken)
    assert refusal.status == 423 or issubclass(failure, (store.BytesMissing, store.StoreFull, *of_creations))


def test_most_derived_class_applies() -> None:
    """A full store is 507 although store errors in general are 503."""
    assert to_refusal(store.StoreFull(), "PATCH").status == 507
    assert to_refusal(store.StoreUnavailable(), "PATCH").status == 503
    assert to_refusal(FileNotFoundError(), "PATCH").status == 503


def test_refusals_are_kept_and_unexpected_exceptions_are_500() -> None:
    """A refusal of the protocol is returned unchanged; an unexpected exception is 500."""
    mismatch = OffsetMismatch(1, 2)
    assert to_refusal(mismatch, "HEAD") is mismatch
    assert to_refusal(ZeroDivisionError("secret"), "PATCH").status == 500
    assert isinstance(to_refusal(hooks.HookFailed("secret"), "HEAD"), NotReady)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_has_a_code_and_a_sentence(refusal: type[TusError]) -> None:
    """Codes are unique, there is a sentence, and 423 and 503 have Retry-After."""
    assert len({other.code for other in REFUSALS}) == len(REFUSALS)
    assert len(str(refusal())) > 20
    assert (refusal.retry_after_seconds is not None) == (refusal.status in (423, 503))
