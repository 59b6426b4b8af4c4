"""``tusd-py fsck``: compares the records with the stored bytes."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of

if TYPE_CHECKING:
    from tusd_py.settings import Settings
    from tusd_py.uploads.fsck import Finding

Repair = Annotated[
    bool,
    typer.Option("--repair", help="Set unfinished uploads back to their stored bytes, and remove orphaned bytes."),
]
_EXIT_PROBLEMS = 2


def fsck(repair: Repair = False, as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Compare the records with the stored bytes.

    Finds missing, short, long and orphaned bytes, beside a running server or without one. Changes nothing without
    --repair. Exits with 2 if problems are left.
    """
    import asyncio

    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.locker import LocksUnavailable
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory" or not settings.has_database:
        fail(["uploads or records are in memory: only the server process that holds them can compare them"])
    try:
        require_database(settings)
        with keeping_owner(settings):
            findings = asyncio.run(_report(settings, repair, as_json))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError, LocksUnavailable) as error:
        fail([reason(error)])
    if not as_json:
        say(_summary(findings))
    if findings["left"]:
        sys.exit(_EXIT_PROBLEMS)


async def _report(settings: Settings, repair: bool, as_json: bool) -> Counter[str]:
    """Print each finding; return how many are ``repaired``, ``left`` and ``harmless``."""
    from tusd_py.uploads.fsck import check
    from tusd_py.wiring.ports import opened_ports

    findings: Counter[str] = Counter()
    async with opened_ports(settings) as ports:
        async for finding in check(ports, repair=repair):
            findings["harmless" if finding.is_harmless else "repaired" if finding.is_repaired else "left"] += 1
            say(_as_json(finding) if as_json else _as_line(finding))
    return findings


def _summary(findings: Counter[str]) -> str:
    problems, harmless = findings["left"] + findings["repaired"], findings["harmless"]
    text = f"problems: {problems}, not repaired: {findings['left']}" if problems else "no problems"
    if harmless:
        return f"{text}, harmless: {harmless}"
    return text if problems else "records and bytes agree"


def _as_json(finding: Finding) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(asdict(finding))


def _as_line(finding: Finding) -> str:
    sizes = "" if finding.problem == "orphaned" else f"  {finding.stored} of {finding.recorded} bytes"
    return f"{finding.problem:<10}  {finding.upload_id}{sizes}: {finding.advice}"
