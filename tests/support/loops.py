"""Runs a test written as a coroutine on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from tests.support.waiting import eventually as eventually

P = ParamSpec("P")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a plain test of a coroutine, run on the ``loop_factory`` of its class, else on asyncio's loop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        factory: LoopFactory | None = getattr(args[0], "loop_factory", None) if args else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(test(*args, **kwargs))

    return run
