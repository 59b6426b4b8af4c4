"""``tusd-py user add | list | roles | password | disable | enable | erase``: accounts with passwords."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from getpass import GetPassWarning
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, choices, command_group, fail, say, settings_of
from tusd_py.commands.output import counted, say_empty

if TYPE_CHECKING:
    from tusd_py.access.accounts import AccountEditor
    from tusd_py.contracts.accounts import Accounts
    from tusd_py.model.account import Account
    from tusd_py.model.audit import AuditEntry
    from tusd_py.model.principal import Role
    from tusd_py.settings import Settings
    from tusd_py.uploads.erase import OwnerErased
    from tusd_py.uploads.ports import Ports

T = TypeVar("T")

app = command_group("Add, list and change accounts.")

Name = Annotated[str, typer.Argument(metavar="<name>", help="The name of the account.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="<role>", help="admin, moderator, uploader or viewer; may be repeated. [uploader]"),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, instead of asking for it.")
]


@app.command("add")
def add(
    name: Name, role: Roles = None, password_stdin: FromStdin = False, config: Config = None, data_dir: DataDir = None
) -> None:
    """Add an account; asks for its password."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    roles = _roles(role or ["uploader"])
    password = _password(settings, password_stdin)
    account = _edit(settings, lambda editor: editor.add(name, password, roles, _audit(settings, "create", name)))
    say(f"{account.name} can log in ({', '.join(sorted(account.roles))})")
    if not settings.accounts.enabled:
        say("accounts are off: set accounts.enabled, and restart the server")


@app.command("list")
def list_accounts(as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """List all accounts."""
    from tusd_py.views import account_view

    settings = settings_of(config, {"storage.data_dir": data_dir})

    async def run(accounts: Accounts) -> list[Account]:
        found: list[Account] = []
        while page := await accounts.list_accounts(after_name=found[-1].name if found else ""):
            found += page
        return found

    found = _call(settings, run)
    for account in found:
        seen = "never" if account.logged_in_at is None else f"{account.logged_in_at:%Y-%m-%d %H:%M:%SZ}"
        if as_json:
            say(json.dumps(account_view(account)))
        else:
            state = "disabled" if account.is_disabled else "enabled"
            say(f"{account.name:<24} {state:<9} {', '.join(sorted(account.roles)):<24} last login {seen}")
    if not found and not as_json:
        say_empty("no accounts; tusd-py user add adds one")


@app.command("roles")
def set_roles(name: Name, role: Roles = None, config: Config = None, data_dir: DataDir = None) -> None:
    """Replace the roles of an account; running servers notice within seconds."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    if not role:
        fail(["name --role, once or more"])
    roles = _roles(role)
    audit = _audit(settings, "set-roles", name)
    _found(name, _call(settings, lambda accounts: accounts.set_roles(_checked(name), roles, audit)))
    say(f"{name}: {', '.join(sorted(roles))}")


@app.command("password")
def set_password(
    name: Name, password_stdin: FromStdin = False, config: Config = None, data_dir: DataDir = None
) -> None:
    """Change a password; all sessions and tokens of the account end."""
    settings = settings_of(config, {"storage.data_dir": data_dir})
    password = _password(settings, password_stdin)
    _edit(settings, lambda editor: editor.set_password(name, password, _audit(settings, "set-password", name)))
    say(f"the password of {name} was changed; its sessions have ended")


@app.command("disable")
def disable(name: Name, config: Config = None, data_dir: DataDir = None) -> None:
    """Disable an account: its sessions, tokens, keys, links and codes end, and running uploads do not complete."""
    _switch(settings_of(config, {"storage.data_dir": data_dir}), name, is_disabled=True)
    say(f"{name} is disabled")


@app.command("enable")
def enable(name: Name, config: Config = None, data_dir: DataDir = None) -> None:
    """Enable a disabled account; its owner has to log in again."""
    _switch(settings_of(config, {"storage.data_dir": data_dir}), name, is_disabled=False)
    say(f"{name} is enabled")


@app.command("erase")
def erase(name: Name, yes: Yes = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Erase an owner: the account, keys, uploads with their bytes, and what events and the audit log say of them."""
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.ports import opened_ports

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory":
        fail(["uploads are in memory: only the server process that holds them can delete them"])
    if not yes:
        fail([f"this deletes every upload of {name}, and cannot be undone: add --yes"])
    done = with_database(settings, opened_ports, partial(_erase, name), "there are no accounts without a database")
    say(
        f"{name} was erased, and is {done.pseudonym} from now on: "
        f"{counted(done.deleted, 'upload')} and {counted(done.keys, 'key')} deleted"
    )
    if done.erased.events_left:
        left = counted(done.erased.events_left, "event")
        say(f"{left} still to be delivered to webhooks: run this again when that is done")
    if done.kept:
        fail([f"upload {each} is being changed by another process: run this again" for each in done.kept])


async def _erase(name: str, ports: Ports) -> OwnerErased:
    from tusd_py.commands.operator_audit import operator
    from tusd_py.uploads.erase import erase_owner

    if ports.audit is not None:
        ports.audit.own_actor = operator()
    assert ports.personal_data is not None, "there is a database"
    return await erase_owner(ports, ports.personal_data, name)


def _switch(settings: Settings, name: str, *, is_disabled: bool) -> None:
    audit = _audit(settings, "disable" if is_disabled else "enable", name)
    now = datetime.now(UTC)
    _found(name, _call(settings, lambda accounts: accounts.set_disabled(_checked(name), is_disabled, now, audit)))


def _audit(settings: Settings, verb: str, name: str) -> tuple[AuditEntry, ...]:
    from tusd_py.commands.operator_audit import operator_entries
    from tusd_py.model.audit import AuditKind

    return operator_entries(settings, verb, AuditKind.ACCOUNT, name.strip().lower())


def _roles(texts: list[str]) -> frozenset[Role]:
    from tusd_py.model.principal import ASSIGNABLE_ROLES

    return frozenset(choices("--role", texts, ASSIGNABLE_ROLES))


def _password(settings: Settings, from_stdin: bool) -> str:
    from tusd_py.commands.database import exiting_on_problems
    from tusd_py.commands.startup import require_database

    # A problem with the database is reported before the password is typed.
    with exiting_on_problems(settings):
        require_database(settings)
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    with warnings.catch_warnings():
        # Without a terminal the password would be read with a warning, and only if it is there twice.
        warnings.simplefilter("error", GetPassWarning)
        try:
            return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning:
            typer.echo(err=True)
            fail(["there is no terminal to ask for the password: add --password-stdin, and send it on standard input"])


def _checked(name: str) -> str:
    from tusd_py.access.accounts import AccountProblem, checked_name

    try:
        return checked_name(name)
    except AccountProblem as problem:
        fail([str(problem)])


def _found(name: str, is_found: bool) -> None:
    if not is_found:
        fail([f"there is no account named {name}"])


def _edit(settings: Settings, use: Callable[[AccountEditor], Awaitable[T]]) -> T:
    from tusd_py.access.accounts import AccountEditor, AccountProblem
    from tusd_py.wiring.access import passwords
    from tusd_py.wiring.clock import utc_now

    async def run(accounts: Accounts) -> T:
        editor = AccountEditor(
            accounts=accounts,
            passwords=passwords(),
            clock=utc_now,
            characters_min=settings.accounts.password_characters_min,
        )
        return await use(editor)

    try:
        return _call(settings, run)
    except AccountProblem as problem:
        fail([str(problem)])


def _call(settings: Settings, use: Callable[[Accounts], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_accounts

    return with_database(settings, open_accounts, use, "there are no accounts without a database")
