"""``tusd-py fsck``: compares the records with the stored bytes."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of

if TYPE_CHECKING:
    from tusd_py.settings import Settings
    from tusd_py.uploads.compare_checksums import ChecksumComparison
    from tusd_py.uploads.fsck import Finding, Progress

Repair = Annotated[
    bool,
    typer.Option("--repair", help="Set unfinished uploads back to their stored bytes, and remove orphaned bytes."),
]
Checksums = Annotated[
    bool,
    typer.Option(
        "--checksums", help="Compare the bytes with recorded checksums too. Reads files; asks S3 for its checksums."
    ),
]
Read = Annotated[bool, typer.Option("--read", help="With S3: as --checksums, but read all bytes instead of asking.")]
BytesPerSecond = Annotated[
    str | None, typer.Option("--bytes-per-second", metavar="<size>", help="Read at most so much a second: 50MiB.")
]
RequestsPerSecond = Annotated[
    float | None,
    typer.Option("--requests-per-second", min=0.001, help="With S3: send at most so many requests a second."),
]
ShowProgress = Annotated[
    bool, typer.Option("--progress", help="Print on standard error every ten seconds how far it has come.")
]
_EXIT_PROBLEMS = 2
_PROGRESS_SECONDS = 10.0


@dataclass(slots=True)
class _Run:
    """The options of one run, and its results."""

    repair: bool
    as_json: bool
    shows_progress: bool
    requests_per_second: float | None
    comparison: ChecksumComparison | None
    findings: Counter[str] = field(default_factory=Counter)  # ``repaired``, ``left`` and ``harmless``


def fsck(
    repair: Repair = False,
    checksums: Checksums = False,
    read: Read = False,
    bytes_per_second: BytesPerSecond = None,
    requests_per_second: RequestsPerSecond = None,
    progress: ShowProgress = False,
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Compare the records with the stored bytes.

    Finds missing, short, long and orphaned bytes, and with --checksums bytes that have changed, beside a running server
    or without one. Changes nothing without --repair. Exits with 2 if problems are left.
    """
    import asyncio

    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.locker import LocksUnavailable
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError

    comparison = _comparison(reads_all=read, bytes_per_second=bytes_per_second) if checksums or read else None
    if bytes_per_second is not None and comparison is None:
        fail(["--bytes-per-second is for --checksums and --read: nothing else reads bytes"])
    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory" or not settings.has_database:
        fail(["uploads or records are in memory: only the server process that holds them can compare them"])
    run = _Run(repair, as_json, progress, requests_per_second, comparison)
    problem = ""
    try:
        require_database(settings)
        with keeping_owner(settings):
            asyncio.run(_report(settings, run))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError, LocksUnavailable) as error:
        problem = reason(error)
    if not as_json:
        say(_summary(run.findings))
        if comparison is not None:
            say(_checksum_summary(comparison))
    if problem:
        fail([f"not everything was examined: {problem}"])
    if run.findings["left"]:
        sys.exit(_EXIT_PROBLEMS)


def _comparison(*, reads_all: bool, bytes_per_second: str | None) -> ChecksumComparison:
    from tusd_py.pace import Pace
    from tusd_py.settings.values import parse_size
    from tusd_py.uploads.compare_checksums import ChecksumComparison

    pace = None
    if bytes_per_second is not None:
        try:
            size = parse_size(bytes_per_second)
            if not isinstance(size, int) or size < 1:
                raise ValueError("a size of at least one byte")
        except ValueError as error:
            fail([f"--bytes-per-second is {bytes_per_second!r}; it must be {error}"])
        pace = Pace(size)
    return ChecksumComparison(reads_all=reads_all, pace=pace)


async def _report(settings: Settings, run: _Run) -> None:
    """Print each finding, and count it."""
    import asyncio

    from tusd_py.contracts.checksum_store import ChecksumStore
    from tusd_py.uploads.fsck import Progress, check
    from tusd_py.wiring.ports import opened_ports

    progress = Progress()
    async with opened_ports(settings) as ports:
        if run.requests_per_second is not None and isinstance(ports.store, ChecksumStore):
            ports.store.limit_requests(run.requests_per_second)
        printing = asyncio.ensure_future(_print_progress(progress, run)) if run.shows_progress else None
        try:
            async for finding in check(ports, repair=run.repair, comparison=run.comparison, progress=progress):
                kind = "harmless" if finding.is_harmless else "repaired" if finding.is_repaired else "left"
                run.findings[kind] += 1
                say(_as_json(finding) if run.as_json else _as_line(finding))
        finally:
            if printing is not None:
                printing.cancel()


async def _print_progress(progress: Progress, run: _Run) -> None:
    import asyncio

    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        read = f", {run.comparison.bytes_read / 1024**2:,.0f} MiB read" if run.comparison else ""
        problems = run.findings["left"] + run.findings["repaired"]
        typer.echo(f"examined {progress.examined:,} uploads{read}, problems: {problems}", err=True)


def _checksum_summary(comparison: ChecksumComparison) -> str:
    counts = ", ".join(f"{verdict} {count}" for verdict, count in comparison.counts.items())
    return f"checksums: {counts}; {comparison.bytes_read / 1024**2:,.1f} MiB read"


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
    sizes = "" if finding.problem in ("orphaned", "mismatch") else f"  {finding.stored} of {finding.recorded} bytes"
    return f"{finding.problem:<10}  {finding.upload_id}{sizes}: {finding.advice}"
