"""``tusd-py backup``: writes the database, and if asked for the bytes of the uploads, into a new directory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tusd_py.commands.console import Config, DataDir, choices, fail, say, settings_of
from tusd_py.commands.output import counted


class Bytes(StrEnum):
    """How the bytes of uploads are backed up."""

    NONE = "none"
    LINK = "link"
    COPY = "copy"


Target = Annotated[Path, typer.Argument(metavar="<directory>", help="A new or empty directory for this backup.")]
OfBytes = Annotated[
    str,
    typer.Option(
        "--bytes",
        metavar=f"<{'|'.join(Bytes)}>",
        help="The bytes of uploads: not at all; sharing the disk with the uploads where possible (clones, else hard "
        "links of what is complete); or as copies.",
    ),
]


def backup(directory: Target, bytes_: OfBytes = "none", config: Config = None, data_dir: DataDir = None) -> None:
    """Back up the records, and the bytes if asked for.

    Beside a running server or without one. The backup is complete when it has a manifest.json.
    """
    from tusd_py.backup import BackupError, back_up
    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.records import RecordsError

    kind = choices("--bytes", [bytes_], Bytes)[0]
    settings = settings_of(config, {"storage.data_dir": data_dir})
    try:
        require_database(settings)
        with keeping_owner(settings):
            result = back_up(settings, directory, with_bytes=kind is not Bytes.NONE, may_link=kind is Bytes.LINK)
    except (StartupError, BackupError) as error:
        fail([str(error)])
    except (OSError, RecordsError) as error:
        fail([reason(error)])
    say(f"records  {directory / ('tusd.sqlite3' if settings.database_path is not None else 'postgresql')}")
    if settings.storage.kind == "s3":
        say(f"bytes    not backed up: they are in the bucket {settings.s3.bucket}")
    elif result.files is None:
        say(f"bytes    not backed up: copy {Path(settings.storage.data_dir) / 'uploads'} after this, or use --bytes")
    else:
        shared = f"of which {result.shared} share bytes with the original"
        say(f"bytes    {directory / 'uploads'}: {counted(result.files, 'file')}, {shared}")
