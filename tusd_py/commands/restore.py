"""``tusd-py restore``: puts a backup into the data directory while nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of
from tusd_py.commands.output import counted

Source = Annotated[Path, typer.Argument(metavar="<directory>", help="The directory that tusd-py backup has written.")]
Replace = Annotated[bool, typer.Option("--replace", help="Move an existing database and uploads aside.")]
KeepCredentials = Annotated[
    bool,
    typer.Option(
        "--keep-credentials",
        help="Accept keys, links, codes and sessions of the backup if no database says which were revoked since.",
    ),
]
_SHOWN_MAX = 10
_WHY_KNOWN = "the database that was replaced says so"
_WHY_UNKNOWN = (
    "the data directory had no database that says which of them were revoked since the backup; to accept them, restore "
    "with --keep-credentials"
)
_NAMES = {
    "api_keys": ("API key", "API keys"),
    "links": ("link", "links"),
    "access_codes": ("access code", "access codes"),
    "account_sessions": ("session", "sessions"),
    "accounts": ("account", "accounts"),
}


def restore(
    directory: Source,
    replace: Replace = False,
    keep_credentials: KeepCredentials = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Put a backup into the data directory.

    Stop the server and every worker first. It can be repeated if it is interrupted.
    """
    from tusd_py.backup import BackupError, missing_bytes
    from tusd_py.backup import restore as restore_backup
    from tusd_py.commands.startup import reason
    from tusd_py.contracts.records import RecordsError
    from tusd_py.settings import describe_database
    from tusd_py.wiring.databases import pending_migrations

    settings = settings_of(config, {"storage.data_dir": data_dir})
    missing: list[str] = []
    try:
        result = restore_backup(settings, directory, replace=replace, keep_credentials=keep_credentials)
        is_old = bool(pending_migrations(settings))
        on_disk = settings.storage.kind == "disk"
        if on_disk and not is_old:
            missing = missing_bytes(settings)
    except BackupError as error:
        fail([str(error)])
    except (OSError, RecordsError) as error:
        fail([reason(error)])
    say(f"records  {describe_database(settings)}{', to be migrated when the server starts' if is_old else ''}")
    say(f"bytes    {'not in this backup' if result.files is None else counted(result.files, 'file')}")
    if result.replaced:
        say(f"before   {result.replaced}: delete it once you have checked the restored server")
    if revoked := _describe(result.revoked):
        say(f"revoked  {revoked}: {_WHY_KNOWN if result.knew_revocations else _WHY_UNKNOWN}")
    if missing:
        shown = ", ".join(missing[:_SHOWN_MAX]) + (" ..." if len(missing) > _SHOWN_MAX else "")
        say(f"missing  {counted(len(missing), 'upload')} with fewer bytes than in the record: {shown}")
    if not on_disk:
        say("missing  not looked for: once the server has started, tusd-py fsck compares the records with the store")


def _describe(revoked: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_NAMES[table][count != 1]}" for table, count in revoked.items() if count)
