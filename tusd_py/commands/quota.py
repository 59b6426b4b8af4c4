"""``tusd-py quota show | set | reconcile``: what owners and addresses have used, and limits for single ones."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, command_group, fail, say, settings_of
from tusd_py.commands.operator_audit import operator_entries
from tusd_py.commands.output import counted, size_text

if TYPE_CHECKING:
    from tusd_py.contracts.quota_ledger import QuotaLedger
    from tusd_py.model.quota import QuotaLimits
    from tusd_py.settings import Settings

T = TypeVar("T")

#: Of a number of files that the database can store.
_DIGITS_MAX = 18

app = command_group("Show, set and reconcile quotas.")

Subject = Annotated[
    str, typer.Argument(metavar="<subject>", help="user:OWNER, or address:ADDRESS for anonymous clients.")
]
BytesPerDay = Annotated[str | None, typer.Option("--bytes-per-day", help='A size such as 10GB; "none" is no limit.')]
BytesPerMonth = Annotated[str | None, typer.Option("--bytes-per-month", help="The same for a month.")]
FilesPerDay = Annotated[str | None, typer.Option("--files-per-day", help='A number of files; "none" is no limit.')]
FilesPerMonth = Annotated[str | None, typer.Option("--files-per-month", help="The same for a month.")]
BytesStored = Annotated[str | None, typer.Option("--bytes-stored", help='A size; "none" is no limit.')]
UploadsAtOnce = Annotated[
    str | None, typer.Option("--uploads-at-once", help='A number of unfinished uploads; "none" is no limit.')
]
Default = Annotated[bool, typer.Option("--default", help="Remove the limits of this subject: the settings apply.")]
Repair = Annotated[bool, typer.Option("--repair", help="Correct what differs.")]


@app.command("show")
def show(subject: Subject, as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Show what a subject has used today and this month, and its limits."""
    from tusd_py.access.quota import quota_views
    from tusd_py.wiring.access import quota_policy
    from tusd_py.wiring.clock import utc_now

    settings = settings_of(config, {"storage.data_dir": data_dir})
    policy, now = quota_policy(settings), utc_now()
    if policy is None:
        fail(["quotas are off: set quotas.enabled"])
    subject = _checked(subject)

    async def run(ledger: QuotaLedger) -> list[dict[str, object]]:
        limits = await ledger.find_limits(subject) or policy.limits
        usage = await ledger.usage(subject, policy.periods(now))
        return quota_views(policy, usage, limits, now)

    for view in _call(settings, run):
        if as_json:
            say(json.dumps({"subject": subject, **view}))
        else:
            quota = str(view["quota"])
            used, reserved, limit = (_amount(quota, view[name]) for name in ("used", "reserved", "limit"))
            say(f"{quota:<16}  used {used}  reserved {reserved}  limit {limit}")


@app.command("set")
def set_limits(
    subject: Subject,
    bytes_per_day: BytesPerDay = None,
    bytes_per_month: BytesPerMonth = None,
    files_per_day: FilesPerDay = None,
    files_per_month: FilesPerMonth = None,
    bytes_stored: BytesStored = None,
    uploads_at_once: UploadsAtOnce = None,
    default: Default = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Set the limits of one subject; a limit that is not named stays as it is."""
    from tusd_py.model.audit import AuditKind
    from tusd_py.model.quota import QuotaLimits
    from tusd_py.wiring.access import quota_policy

    settings = settings_of(config, {"storage.data_dir": data_dir})
    subject = _checked(subject)
    given = {
        "bytes_per_day": bytes_per_day,
        "bytes_per_month": bytes_per_month,
        "files_per_day": files_per_day,
        "files_per_month": files_per_month,
        "bytes_stored": bytes_stored,
        "uploads_at_once": uploads_at_once,
    }
    changes = {name: _limit(name, text) for name, text in given.items() if text is not None}
    if default == bool(changes):
        fail(["name a limit such as --bytes-per-day or --files-per-day, or --default"])
    policy = quota_policy(settings)
    if {"bytes_stored", "uploads_at_once"} & changes.keys() and not (policy is not None and policy.counts_now):
        fail(["stored bytes and unfinished uploads are not counted: set quotas.bytes_stored or quotas.uploads_at_once"])

    async def run(ledger: QuotaLedger) -> QuotaLimits | None:
        before = await ledger.find_limits(subject) or (QuotaLimits() if policy is None else policy.limits)
        limits = None if default else before._replace(**changes)
        await ledger.set_limits(subject, limits, operator_entries(settings, "set", AuditKind.QUOTA, subject))
        return limits

    limits = _call(settings, run)
    if limits is None:
        say(f"{subject} has the limits of the settings")
        return
    for name in given:
        limit = getattr(limits, name)
        if limit is not None or name.startswith("bytes_per"):
            say(f"{subject}  {name:<16}  limit {_amount(name, limit)}")


@app.command("reconcile")
def reconcile(repair: Repair = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Compare the quota ledger with the records of uploads; exits with 1 if something differs and is not repaired."""
    from tusd_py.wiring.access import quota_policy

    settings = settings_of(config, {"storage.data_dir": data_dir})
    policy = quota_policy(settings)
    counts_now = policy is not None and policy.counts_now
    deletes_rejected = policy is not None and policy.deletes_rejected
    drifts = _call(
        settings,
        lambda ledger: ledger.reconcile(repair=repair, counts_now=counts_now, deletes_rejected=deletes_rejected),
    )
    for drift in drifts:
        say(f"{drift.subject}  {drift.period}  {drift.unit}  counted {drift.counted}  charged {drift.charged}")
    say(f"{counted(len(drifts), 'difference')}{' repaired' if repair else ''}" if drifts else "no differences")
    if drifts and not repair:
        raise typer.Exit(1)


def _checked(subject: str) -> str:
    from tusd_py.access.quota import UnknownSubject, parse_subject

    try:
        return parse_subject(subject)
    except UnknownSubject as error:
        fail([f"{error}; did you mean user:{subject}?"])
    except ValueError as error:
        fail([str(error)])


def _limit(name: str, text: str) -> int | None:
    from tusd_py.settings.values import parse_size

    if text == "none":
        return None
    flag = f"--{name.replace('_', '-')}"
    if not name.startswith("bytes"):
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
            fail([f'{flag} is {text!r}; it must be a whole number, or "none"'])
        return int(text)
    try:
        size = parse_size(text)
    except ValueError as error:
        fail([f"{flag} is {text!r}; it must be {error}"])
    assert isinstance(size, int)
    return size


def _amount(quota: str, value: object) -> str:
    """A number of bytes as a size, and of files as it is."""
    if value is None:
        return "none"
    return size_text(value) if isinstance(value, int) and quota.startswith("bytes") else str(value)


def _call(settings: Settings, use: Callable[[QuotaLedger], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_quota_ledger

    return with_database(settings, open_quota_ledger, use, "there are no quotas without a database")
