"""Every asynchronous test is marked ``anyio`` and runs on asyncio, unless its module or class names another backend."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stacks import mark_long

# Processors are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

#: A long test that takes minutes takes several times as long on a loaded machine.
LONG_TIMEOUT_SECONDS = 1800


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before pytest selects by marks."""
    mark_long(items)
    _extend_timeouts(items)


def _extend_timeouts(items: list[pytest.Item]) -> None:
    """Give every test marked ``long`` at least ``LONG_TIMEOUT_SECONDS``, whatever its module gives the others."""
    for item in items:
        if item.get_closest_marker("long") is None:
            continue
        given = item.get_closest_marker("timeout")
        if given is None or given.args[0] < LONG_TIMEOUT_SECONDS:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_SECONDS), append=False)


@pytest.fixture(scope="session")
def anyio_backend() -> object:
    """asyncio's default event loop. Override it for uvloop or for ``tests.support.virtual_time``."""
    return "asyncio"
