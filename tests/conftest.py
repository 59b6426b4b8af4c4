"""Every asynchronous test is marked ``anyio`` and runs on asyncio, unless its module or class names another backend."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> object:
    """asyncio's default event loop. Override it for uvloop or for ``tests.support.virtual_time``."""
    return "asyncio"
