"""``tusd-py quota show | set | reconcile``: what owners and addresses have used, and limits for single ones."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, fail, say, settings_of

if TYPE_CHECKING:
    from tusd_py.contracts.quota_ledger import QuotaLedger
    from tusd_py.model.quota import QuotaLimits
    from tusd_py.settings import Settings

T = TypeVar("T")

app = typer.Typer(
    help="Show, set and reconcile quotas.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Subject = Annotated[
    str, typer.Argument(metavar="<subject>", help="user:OWNER, or address:ADDRESS for anonymous clients.")
]
PerDay = Annotated[str | None, typer.Option("--bytes-per-day", help='A size such as 10GB; "none" is no limit.')]
PerMonth = Annotated[str | None, typer.Option("--bytes-per-month", help='A size such as 100GB; "none" is no limit.')]
Default = Annotated[bool, typer.Option("--default", help="Remove the limits of this subject: the settings apply.")]
Repair = Annotated[bool, typer.Option("--repair", help="Correct what differs.")]


@app.command("show")
def show(subject: Subject, as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Show what a subject has used today and this month, and its limits."""
    from tusd_py.access.quota import quota_view
    from tusd_py.access_wiring import quota_policy
    from tusd_py.wiring import utc_now

    settings = settings_of(config, {"storage.data_dir": data_dir})
    policy, now = quota_policy(settings), utc_now()
    if policy is None:
        fail(["quotas are off: set quotas.enabled"])
    _check(subject)

    async def run(ledger: QuotaLedger) -> list[dict[str, object]]:
        limits = await ledger.find_limits(subject) or policy.limits
        usage = await ledger.usage(subject, policy.periods(now))
        return [quota_view(policy, each, limits, now) for each in usage]

    for view in _call(settings, run):
        if as_json:
            say(json.dumps({"subject": subject, **view}))
        else:
            limit = "none" if view["limit"] is None else view["limit"]
            say(f"{view['quota']:<16} used {view['used']}  reserved {view['reserved']}  limit {limit}")


@app.command("set")
def set_limits(
    subject: Subject,
    bytes_per_day: PerDay = None,
    bytes_per_month: PerMonth = None,
    default: Default = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Set the limits of one subject; a limit that is not named stays as it is."""
    from dataclasses import replace

    from tusd_py.access_wiring import quota_policy
    from tusd_py.model.quota import QuotaLimits

    settings = settings_of(config, {"storage.data_dir": data_dir})
    _check(subject)
    if default == (bytes_per_day is not None or bytes_per_month is not None):
        fail(["name --bytes-per-day or --bytes-per-month, or --default"])
    changes = {}
    if bytes_per_day is not None:
        changes["bytes_per_day"] = _size("--bytes-per-day", bytes_per_day)
    if bytes_per_month is not None:
        changes["bytes_per_month"] = _size("--bytes-per-month", bytes_per_month)
    policy = quota_policy(settings)

    async def run(ledger: QuotaLedger) -> QuotaLimits | None:
        before = await ledger.find_limits(subject) or (QuotaLimits() if policy is None else policy.limits)
        limits = None if default else replace(before, **changes)
        await ledger.set_limits(subject, limits)
        return limits

    limits = _call(settings, run)
    if limits is None:
        say(f"{subject} has the limits of the settings")
    else:
        say(f"{subject}: {_text(limits.bytes_per_day)} a day, {_text(limits.bytes_per_month)} a month")


@app.command("reconcile")
def reconcile(repair: Repair = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Compare the quota ledger with the records of uploads; exits with 1 if something differs and is not repaired."""
    drifts = _call(settings_of(config, {"storage.data_dir": data_dir}), lambda ledger: ledger.reconcile(repair=repair))
    for drift in drifts:
        say(f"{drift.subject}  {drift.period}  counted {drift.counted}  charged {drift.charged}")
    say(f"{len(drifts)} differences{' repaired' if repair and drifts else ''}" if drifts else "no differences")
    if drifts and not repair:
        raise typer.Exit(1)


def _check(subject: str) -> None:
    if not subject.startswith(("user:", "address:")):
        fail([f"a subject is user:OWNER or address:ADDRESS; did you mean user:{subject}?"])


def _size(flag: str, text: str) -> int | None:
    from tusd_py.settings.values import parse_size

    if text == "none":
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        fail([f"{flag} is {text!r}; it must be {error}"])
    assert isinstance(size, int)
    return size


def _text(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit} bytes"


def _call(settings: Settings, use: Callable[[QuotaLedger], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.databases import open_quota_ledger

    return with_database(settings, open_quota_ledger, use, "there are no quotas without a database")
