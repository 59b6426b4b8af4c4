"""Runs one coroutine over an open part of the database, for commands that read or change what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

from tusd_py.commands.console import fail
from tusd_py.commands.file_ownership import keeping_owner
from tusd_py.commands.startup import StartupError, reason, require_database
from tusd_py.contracts.records import RecordsError
from tusd_py.settings import Settings, describe_database

Opened = TypeVar("Opened")
T = TypeVar("T")


def with_database(
    settings: Settings,
    opening: Callable[[Settings], AbstractAsyncContextManager[Opened]],
    use: Callable[[Opened], Awaitable[T]],
    needs: str,
) -> T:
    """Return the result of ``use`` with what ``opening`` opens, and close that. Creates nothing.

    ``needs`` says what is missing where records are in memory. Problems exit with code 2 and a sentence.
    """
    if not settings.has_database:
        fail([f'records.url is "memory": {needs}'])

    async def run() -> T:
        async with opening(settings) as opened:
            return await use(opened)

    with exiting_on_problems(settings):
        require_database(settings)
        with keeping_owner(settings):
            result = asyncio.run(run())
    return result


@contextmanager
def exiting_on_problems(settings: Settings) -> Iterator[None]:
    """Exit with code 2 and a sentence if the block cannot use the data directory or the database."""
    try:
        yield
    except StartupError as error:
        fail([str(error)])
    except OSError as error:
        fail([reason(error)])
    except UnicodeEncodeError:
        # Not the text: it may be a password.
        fail(["an argument, or the input, is not text in UTF-8"])
    except RecordsError as error:
        fail([f"the database {describe_database(settings)}: {error}"])
