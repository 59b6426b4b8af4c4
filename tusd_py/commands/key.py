"""``tusd-py key add | list | revoke``: API keys of programs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, choices, command_group, fail, say, settings_of
from tusd_py.commands.output import say_empty, size_text

if TYPE_CHECKING:
    from tusd_py.contracts.accounts import ApiKeys
    from tusd_py.model.account import ApiKey
    from tusd_py.settings import Settings

T = TypeVar("T")

app = command_group("Make, list and revoke API keys.")

Owner = Annotated[
    str, typer.Argument(metavar="<owner>", help="On whose behalf the program acts: an account, or any name.")
]
Label = Annotated[str, typer.Option("--label", metavar="<text>", help="What the key is for.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="<role>", help="admin, moderator, uploader or viewer; may be repeated. [uploader]"),
]
Verbs = Annotated[
    list[str] | None,
    typer.Option(
        "--verb",
        metavar="<verb>",
        help="Permit only create, append, inspect, download, terminate, share, observe or operate; may be repeated.",
    ),
]
LengthMax = Annotated[
    str | None, typer.Option("--length-max", metavar="<size>", help="Permit uploads up to this size, such as 5GB.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="<type>", help="Permit only this media type, such as image/*; may be repeated."),
]
Days = Annotated[str | None, typer.Option("--days", metavar="<number>", help="Let the key expire after so many days.")]
KeyId = Annotated[str, typer.Argument(metavar="<id>", help="The id of the key, as in the list.")]
OfOwner = Annotated[str, typer.Option("--owner", metavar="<owner>", help="Only the keys of this owner.")]


@app.command("add")
def add(
    owner: Owner,
    label: Label = "",
    role: Roles = None,
    verb: Verbs = None,
    length_max: LengthMax = None,
    media_type: Types = None,
    days: Days = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown only now."""
    from datetime import timedelta

    from tusd_py.access.api_keys import new_key
    from tusd_py.commands.operator_audit import operator_entries
    from tusd_py.model.audit import AuditKind
    from tusd_py.model.principal import ASSIGNABLE_ROLES, PrincipalLimits, Verb
    from tusd_py.wiring.clock import utc_now

    settings, now = settings_of(config, {"storage.data_dir": data_dir}), utc_now()
    roles = frozenset(choices("--role", role or ["uploader"], ASSIGNABLE_ROLES))
    if not owner or not owner.isprintable() or len(owner) > 255 or len(label) > 255:
        fail(["the owner must be text of 1 to 255 printable characters, and the label of at most 255"])
    key, text = new_key(
        owner=owner,
        label=label,
        roles=roles,
        verbs=frozenset(choices("--verb", verb, Verb)) if verb else None,
        now=now,
        expires_at=None if days is None else now + timedelta(days=_days(days)),
        limits=PrincipalLimits(length_max=_length(length_max), types=_types(media_type)),
    )
    audit = operator_entries(settings, "create", AuditKind.KEY, key.id)
    _call(settings, lambda keys: keys.add(key, audit))
    say(text)
    if not settings.accounts.api_keys:
        typer.echo("API keys are off: set accounts.api_keys, and restart the server", err=True)


@app.command("list")
def list_keys(owner: OfOwner = "", as_json: AsJson = False, config: Config = None, data_dir: DataDir = None) -> None:
    """List the keys; their secrets are not kept."""
    from tusd_py.views import key_view

    settings = settings_of(config, {"storage.data_dir": data_dir})

    async def run(keys: ApiKeys) -> list[ApiKey]:
        found: list[ApiKey] = []
        while page := await keys.list_keys(owner=owner, after_id=found[-1].id if found else ""):
            found += page
        return found

    found = _call(settings, run)
    for key in found:
        view = key_view(key)
        if as_json:
            say(json.dumps(view))
        else:
            state = "revoked" if key.revoked_at else f"expires {view['expires_at'] or 'never'}"
            scope = "all verbs" if key.verbs is None else " ".join(sorted(key.verbs))
            if key.limits.length_max is not None:
                scope += f"  up to {size_text(key.limits.length_max)}"
            if key.limits.types is not None:
                scope += f"  only {' '.join(key.limits.types)}"
            roles, used = " ".join(sorted(key.roles)), view["last_used_at"] or "never"
            say(f"{key.id}  {key.owner}  {roles}  {scope}  {state}  used {used}  {key.label}".rstrip())
    if not found and not as_json:
        of_owner = f" of {owner}" if owner else ""
        say_empty(f"no keys{of_owner}; tusd-py key add makes one")


@app.command("revoke")
def revoke(key_id: KeyId, config: Config = None, data_dir: DataDir = None) -> None:
    """Revoke a key; running servers notice within seconds."""
    from tusd_py.commands.operator_audit import operator_entries
    from tusd_py.model.audit import AuditKind
    from tusd_py.wiring.clock import utc_now

    settings = settings_of(config, {"storage.data_dir": data_dir})
    audit = operator_entries(settings, "revoke", AuditKind.KEY, key_id)
    if not _call(settings, lambda keys: keys.revoke(key_id, utc_now(), audit)):
        fail([f"no key with the id {key_id} can be revoked: see tusd-py key list"])
    say(f"{key_id} is revoked")


def _length(text: str | None) -> int | None:
    from tusd_py.settings.values import parse_size

    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        fail([f"--length-max is {text!r}; it must be {error}"])
    if not isinstance(size, int) or not 0 < size < 2**63:
        fail([f"--length-max is {text!r}; it must be at least 1 byte, and less than 9.2 EB"])
    return size


def _types(texts: list[str] | None) -> tuple[str, ...] | None:
    from tusd_py.model.principal import TYPE_PATTERN, TYPES_MAX

    for text in texts or ():
        if not TYPE_PATTERN.fullmatch(text):
            fail([f"--type is {text!r}; it must be a media type such as image/png or image/*"])
    if len(texts or ()) > TYPES_MAX:
        fail([f"a key may have at most {TYPES_MAX} types"])
    return tuple(texts) if texts else None


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) > 0):
        fail([f"--days is {text!r}; it must be a whole number from 1 to 99999"])
    return int(text)


def _call(settings: Settings, use: Callable[[ApiKeys], Awaitable[T]]) -> T:
    from tusd_py.commands.database import with_database
    from tusd_py.wiring.databases import open_api_keys

    return with_database(settings, open_api_keys, use, "there are no API keys without a database")
