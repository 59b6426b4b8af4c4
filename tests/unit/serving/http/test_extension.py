"""Our ASGI extension: server and application use the same keys."""

from __future__ import annotations

import inspect
import re

from tusd_py.serving.http.extension import ExtensionMethods
from tusd_py.web import exchange


def test_exchange_uses_every_method() -> None:
    """A key that only one side knows would silently turn a feature off."""
    used = set(re.findall(r'extension\.get\("(\w+)"', inspect.getsource(exchange)))
    assert used == set(ExtensionMethods.__annotations__)
