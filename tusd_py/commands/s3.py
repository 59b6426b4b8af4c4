"""``tusd-py s3``: looks after the bucket of ``storage.kind = "s3"``."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, command_group, fail, say, settings_of

if TYPE_CHECKING:
    from tusd_py.settings import Settings
    from tusd_py.uploads.abandoned import Abandoned

app = command_group("Look after the bucket of uploads.")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: 100 years: much earlier times are not in the calendar of ``datetime``.
_SECONDS_MAX = 36500 * 86400
_EXIT_PROBLEMS = 2

Delete = Annotated[bool, typer.Option("--delete", help="Remove what is found. Without it nothing is changed.")]
OlderThan = Annotated[str, typer.Option("--older-than", help="Only what is older than this: 90m, 12h, 7d.")]


@app.callback()
def _group() -> None:
    """Look after the bucket of uploads."""


@app.command()
def janitor(
    delete: Delete = False,
    older_than: OlderThan = "1d",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Find multipart uploads, tails and objects that no record names, and remove them with --delete.

    The server does the same periodically (expiration.leftover_seconds). Objects of other programs, and what a record
    names or a running request uses, are left alone. Exits with 2 if something could not be removed.
    """
    import asyncio

    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.locker import LocksUnavailable
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if not settings.has_database:
        fail(["records are in memory: only the server process that holds them knows which objects are named"])
    seconds = _seconds(older_than)
    try:
        require_database(settings)
        if settings.storage.kind != "s3":
            fail(['storage.kind is not "s3": there is no bucket'])
        with keeping_owner(settings):
            counts = asyncio.run(_report(settings, seconds, delete, as_json))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError, LocksUnavailable) as error:
        fail([reason(error)])
    if not as_json:
        say(_summary(counts, delete))
    if delete and counts["left"]:
        sys.exit(_EXIT_PROBLEMS)


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    is_time = unit in _SECONDS and number.isascii() and number.isdecimal() and len(number) <= 10
    seconds = int(number) * _SECONDS[unit] if is_time else -1
    if not 0 <= seconds <= _SECONDS_MAX:
        fail([f"--older-than is {text!r}; it must be a time such as 90m, 12h or 7d, at most 36500d"])
    return seconds


async def _report(settings: Settings, seconds: int, delete: bool, as_json: bool) -> Counter[str]:
    """Print each object; return how many are ``removed`` and ``left``."""
    from datetime import timedelta

    from tusd_py.contracts.object_list import ObjectList
    from tusd_py.uploads.abandoned import find_abandoned
    from tusd_py.wiring.ports import opened_ports

    counts: Counter[str] = Counter()
    async with opened_ports(settings) as ports:
        store = ports.store
        assert isinstance(store, ObjectList), "the settings name S3"
        before = ports.clock() - timedelta(seconds=seconds)
        async for found in find_abandoned(ports, store, before, removes=delete):
            counts["removed" if found.is_removed else "left"] += 1
            say(_as_json(found) if as_json else _as_line(found))
    return counts


def _summary(counts: Counter[str], delete: bool) -> str:
    if not counts:
        return "nothing is abandoned"
    return f"removed {counts['removed']}, left {counts['left']}" if delete else f"abandoned {counts['left']}"


def _as_json(found: Abandoned) -> str:
    import json

    stored = found.stored
    return json.dumps(
        {
            "upload_id": stored.upload_id,
            "kind": stored.kind,
            "key": stored.key,
            "multipart_id": stored.multipart_id,
            "size": stored.size,
            "made_at": stored.made_at.isoformat(),
            "is_removed": found.is_removed,
        }
    )


def _as_line(found: Abandoned) -> str:
    stored = found.stored
    size = "" if stored.multipart_id else f"  {stored.size} bytes"
    removed = "  removed" if found.is_removed else ""
    return f"{stored.kind:<16}  {stored.made_at:%Y-%m-%d %H:%M}  {stored.key}{size}{removed}"
