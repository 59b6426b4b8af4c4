"""``tusd-py audit list | verify``: prints entries of the audit log, and verifies that it is complete and unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import (
    AsJson,
    Config,
    DataDir,
    choices,
    command_group,
    fail,
    instant,
    row_limit,
    say,
    settings_of,
)
from tusd_py.commands.output import counted, say_empty

if TYPE_CHECKING:
    from tusd_py.contracts.audit_log import AuditLog
    from tusd_py.model.audit import AuditFilter, RecordedEntry
    from tusd_py.settings import Settings

T = TypeVar("T")

app = command_group("List and verify the audit log.")

_PAGE = 500
_ANCHOR = re.compile(r"\b([1-9][0-9]{0,17}):([0-9a-f]{64})\b", re.ASCII)

Subject = Annotated[str, typer.Option("--subject", help="Only acts of this account, owner or operator.")]
Verb = Annotated[str, typer.Option("--verb", help="Only acts of this kind, such as terminate.")]
Kind = Annotated[str, typer.Option("--kind", help="Only acts on objects of this kind, such as upload.")]
ObjectId = Annotated[str, typer.Option("--id", help="Only acts on the object with this id.")]
Outcome = Annotated[str, typer.Option("--outcome", metavar="<done|refused|failed>", help="Only with this outcome.")]
Address = Annotated[str, typer.Option("--address", help="Only acts from this address, as it is recorded.")]
Since = Annotated[str, typer.Option("--since", metavar="<time>", help="From this date or time on (ISO 8601).")]
Until = Annotated[str, typer.Option("--until", metavar="<time>", help="Before this date or time.")]
Limit = Annotated[str, typer.Option("--limit", "-n", metavar="<number>", help="How many of the newest entries.")]
Anchors = Annotated[
    Path | None,
    typer.Option("--anchors", metavar="<file>", help="Lines of the server's log: their anchors must be in the chain."),
]


@app.command("list")
def list_entries(
    subject: Subject = "",
    verb: Verb = "",
    kind: Kind = "",
    object_id: ObjectId = "",
    outcome: Outcome = "",
    address: Address = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = "100",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List entries, oldest first: the newest that match."""
    from tusd_py.model.audit import AuditFilter, AuditKind, AuditOutcome
    from tusd_py.views import audit_view

    count = row_limit(limit)
    matching = AuditFilter(
        subject=subject,
        verb=verb,
        kind=choices("--kind", [kind], AuditKind)[0] if kind else None,
        object_id=object_id,
        outcome=choices("--outcome", [outcome], AuditOutcome)[0] if outcome else None,
        address=address,
        since=instant("--since", since),
        until=instant("--until", until),
    )
    settings = settings_of(config, {"storage.data_dir": data_dir})
    found = _call(settings, lambda audit_log: _newest(audit_log, matching, count))
    for recorded in found:
        say(json.dumps(audit_view(recorded)) if as_json else _line(recorded))
    if not found and not as_json:
        say_empty("no entries" if settings.audit.enabled else "no entries; the audit log is off (audit.enabled)")


@app.command()
def verify(anchors: Anchors = None, config: Config = None, data_dir: DataDir = None) -> None:
    """Compare all entries with the hash chain; exits with 1 if one was changed, added or removed."""
    from tusd_py.access.audit_sealing import verify as verify_chain

    settings = settings_of(config, {"storage.data_dir": data_dir})
    known = {} if anchors is None else _read_anchors(anchors)
    key = settings.audit.seal_key.encode()
    found = _call(settings, lambda audit_log: verify_chain(audit_log, key, known))
    for problem in found.problems:
        say(problem)
    last = "" if found.last is None else f", the last {found.last.number}:{found.last.hash}"
    sealed = f"{counted(found.entries, 'entry', 'entries')} in {counted(found.seals, 'seal')}"
    say(f"{sealed}{last}; {found.unsealed} not sealed yet; {found.erased} erased")
    if found.problems:
        raise typer.Exit(1)


async def _newest(audit_log: AuditLog, matching: AuditFilter, count: int) -> list[RecordedEntry]:
    found: list[RecordedEntry] = []
    while len(found) < count:
        before = found[-1].number if found else None
        page = await audit_log.list_entries(matching, before=before, limit=min(_PAGE, count - len(found)))
        if not page:
            break
        found += page
    return found[::-1]


def _read_anchors(path: Path) -> dict[int, str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            found = {int(match[1]): match[2] for line in lines for match in _ANCHOR.finditer(line)}
    except OSError as error:
        fail([f"{path} cannot be read: {error.strerror}"])
    if not found:
        fail([f"{path} has no anchor, such as 17:3fa9...: name lines of the log with 'audit log sealed'"])
    return found


def _line(recorded: RecordedEntry) -> str:
    from tusd_py.logs import printable
    from tusd_py.views import format_time

    entry = recorded.entry
    actor = f"{entry.subject or '-'} ({entry.method})"
    parts = [
        f"{recorded.number:>8}",
        str(format_time(entry.at)),
        actor,
        entry.verb,
        entry.kind,
        entry.object_id or "-",
    ]
    parts += [entry.outcome, entry.address or "-", entry.reason]
    return printable("  ".join(parts).rstrip())


def _call(settings: Settings, use: Callable[[AuditLog], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_audit_log

    return with_database(settings, open_audit_log, use, "there is no audit log without a database")
