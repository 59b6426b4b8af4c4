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
    from tusd_py.model.quota import Quota, SubjectLimits
    from tusd_py.settings import Settings

T = TypeVar("T")

#: Of a number of files that the database can store.
_DIGITS_MAX = 18

app = command_group("Show, set and reconcile quotas.")

Subject = Annotated[
    str, typer.Argument(metavar="<subject>", help="user:OWNER, or address:ADDRESS for anonymous clients.")
]
_SIZE, _NUMBER = "<size>", "<number>"
BytesPerDay = Annotated[
    str | None,
    typer.Option(
        "--bytes-per-day",
        metavar=_SIZE,
        help='A size such as 10GB; "none" is no limit, and with "default" the settings apply. So for all limits.',
    ),
]
BytesPerMonth = Annotated[str | None, typer.Option("--bytes-per-month", metavar=_SIZE, help="The same for a month.")]
FilesPerDay = Annotated[str | None, typer.Option("--files-per-day", metavar=_NUMBER, help="A number of files.")]
FilesPerMonth = Annotated[str | None, typer.Option("--files-per-month", metavar=_NUMBER, help="The same for a month.")]
BytesStored = Annotated[str | None, typer.Option("--bytes-stored", metavar=_SIZE, help="A size of all uploads.")]
UploadsAtOnce = Annotated[
    str | None, typer.Option("--uploads-at-once", metavar=_NUMBER, help="A number of unfinished uploads.")
]
Default = Annotated[bool, typer.Option("--default", help="Remove all limits of this subject: the settings apply.")]
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
        usage = await ledger.usage(subject, policy.periods(now))
        return quota_views(policy, usage, policy.limits, await ledger.find_limits(subject), now)

    for view in _call(settings, run):
        if as_json:
            say(json.dumps({"subject": subject, **view}))
        else:
            quota = str(view["quota"])
            used, reserved, limit = (_amount(quota, view[name]) for name in ("used", "reserved", "limit"))
            origin = "  (set for this subject)" if view["set_for_subject"] else ""
            say(f"{quota:<16}  used {used}  reserved {reserved}  limit {limit}{origin}")


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
    """Set limits of one subject; a quota that is not named stays as it is."""
    from tusd_py.model.audit import AuditKind
    from tusd_py.model.quota import Quota
    from tusd_py.wiring.access import quota_policy

    settings = settings_of(config, {"storage.data_dir": data_dir})
    subject = _checked(subject)
    texts = dict(
        zip(
            Quota,
            (bytes_per_day, bytes_per_month, files_per_day, files_per_month, bytes_stored, uploads_at_once),
            strict=True,
        )
    )
    named = {quota: text for quota, text in texts.items() if text is not None}
    if default == bool(named):
        fail(["name a limit such as --bytes-per-day or --files-per-day, or --default"])
    changes = {quota: _limit(quota, text) for quota, text in named.items() if text != "default"}
    removed = [quota for quota in (Quota if default else named) if quota not in changes]
    policy = quota_policy(settings)
    is_counted = policy is not None and policy.counts_now
    if not is_counted and any(changes.get(quota) is not None for quota in (Quota.BYTES_STORED, Quota.UPLOADS_AT_ONCE)):
        fail(["stored bytes and unfinished uploads are not counted: set quotas.bytes_stored or quotas.uploads_at_once"])

    async def run(ledger: QuotaLedger) -> SubjectLimits:
        audit = operator_entries(settings, "set", AuditKind.QUOTA, subject)
        await ledger.change_limits(subject, changes, removed, audit)
        return await ledger.find_limits(subject)

    limits = _call(settings, run)
    for quota, limit in limits.items():
        say(f"{subject}  {quota:<16}  limit {_amount(quota, limit)}")
    others = "all other quotas" if limits else "all quotas"
    if len(limits) < len(Quota):
        say(f"{subject}  {others} follow its credentials and the settings")
    if policy is None:
        typer.echo("quotas are off: set quotas.enabled, and restart the server", err=True)


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


def _limit(quota: Quota, text: str) -> int | None:
    from tusd_py.settings.values import parse_size

    if text == "none":
        return None
    flag = f"--{quota.replace('_', '-')}"
    if not quota.counts_bytes:
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
            fail([f'{flag} is {text!r}; it must be a whole number, "none" or "default"'])
        return int(text)
    try:
        size = parse_size(text)
    except ValueError as error:
        fail([f'{flag} is {text!r}; it must be {error}, "none" or "default"'])
    if not isinstance(size, int) or size >= 2**63:
        fail([f"{flag} is {text!r}; it must be less than 9.2 EB"])
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
