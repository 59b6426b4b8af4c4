"""The table from exceptions of the contracts to responses: complete, and safe for clients that resume."""

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
CONTRACT_ERRORS = [
    error
    for module in CONTRACT_MODULES
    for _, error in inspect.getmembers(module, inspect.isclass)
    if issubclass(error, Exception) and error.__module__ == module.__name__
]
REFUSALS = [
    refusal
    for _, refusal in inspect.getmembers(errors, inspect.isclass)
    if issubclass(refusal, TusError) and refusal.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", CONTRACT_ERRORS)
def test_every_contract_error_is_in_the_table(error: type[Exception]) -> None:
    """The table has the class or one of its bases, and the message of the exception never reaches the client."""
    assert len(CONTRACT_ERRORS) >= 18
    refusal = to_refusal(error("secret"), "PATCH")
    assert not isinstance(refusal, InternalError)
    assert any(base in TABLE for base in error.__mro__)
    assert "secret" not in str(refusal)


@pytest.mark.parametrize("error", [*CONTRACT_ERRORS, OSError])
def test_head_transient_error_423(error: type[Exception]) -> None:
    """Clients start over after a 5xx on HEAD, so only missing bytes and errors that HEAD cannot cause have one."""
    refusal = to_refusal(error("no"), "HEAD")
    only_on_creation = (records.RecordExists, store.PathTaken)
    assert refusal.status == 423 or error in (store.BytesMissing, store.StoreFull, *only_on_creation)


def test_the_most_derived_class_counts() -> None:
    """A full disk is 507, although every other store error is 503."""
    assert to_refusal(store.StoreFull(), "PATCH").status == 507
    assert to_refusal(store.StoreUnavailable(), "PATCH").status == 503
    assert to_refusal(FileNotFoundError(), "PATCH").status == 503


def test_protocol_errors_pass_and_unknown_errors_are_500() -> None:
    """An error of the protocol is returned unchanged; an unexpected exception becomes 500."""
    mismatch = OffsetMismatch(1, 2)
    assert to_refusal(mismatch, "HEAD") is mismatch
    assert to_refusal(ZeroDivisionError("secret"), "PATCH").status == 500
    assert isinstance(to_refusal(hooks.HookFailed("secret"), "HEAD"), NotReady)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_has_a_code_and_a_message(refusal: type[TusError]) -> None:
    """Each has a status, a unique code and a message; those that pass soon have Retry-After."""
    assert len({other.code for other in REFUSALS}) == len(REFUSALS)
    assert len(str(refusal())) > 20
    assert (refusal.retry_after_seconds is not None) == (refusal.status in (423, 503))
