"""Every asynchronous test is marked ``anyio`` and runs on asyncio, unless its module or class names another backend."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stacks import mark_long

# Processors are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before pytest selects by marks."""
    mark_long(items)


@pytest.fixture(scope="session")
def anyio_backend() -> object:
    """asyncio's default event loop. Override it for uvloop or for ``tests.support.virtual_time``."""
    return "asyncio"
