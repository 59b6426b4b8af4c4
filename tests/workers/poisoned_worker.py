"""A worker for ``test_poison``, one of whose actors kills it: ``python -m tests.workers.poisoned_worker SETTINGS``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from tusd_py.settings import Settings
from workers.actor import JobContext
from workers.lifespan import Lifespan
from workers.process import start

_SECONDS = 60


async def act(task: JobContext) -> None:
    await asyncio.sleep(0.3)


async def poison(task: JobContext) -> None:
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    settings = Settings.model_validate_json(sys.argv[1])
    start(settings, Lifespan(settings, {"act": act, "poison": poison}, lambda: os._exit(1)))
    time.sleep(_SECONDS)
