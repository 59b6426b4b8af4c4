"""``tusd-py import tusd``: takes over the uploads of a tusd server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tusd_py.commands.console import AsJson, Config, DataDir, command_group, fail, say, settings_of

if TYPE_CHECKING:
    from tusd_py.settings import Settings
    from tusd_py.uploads.ports import Ports

app = command_group("Take over the uploads of another server.")

Directory = Annotated[Path, typer.Argument(metavar="<directory>", help="The upload directory of tusd (-upload-dir).")]
Owner = Annotated[str, typer.Option("--owner", metavar="<owner>", help="The owner of the uploads. [none]")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be taken over.")]
Remove = Annotated[
    bool, typer.Option("--remove", help="Delete the files of tusd of each upload that was taken over just now.")
]
_EXIT_SKIPPED = 2


@app.callback()
def _group() -> None:
    """Make the one command that there is a subcommand."""


@app.command("tusd")
def import_tusd(
    directory: Directory,
    owner: Owner = "",
    dry_run: DryRun = False,
    remove: Remove = False,
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Copy the uploads in the directory of a tusd server, with their ids, metadata and offsets.

    Stop tusd first. Uploads that are recorded here already are left out, so it can be repeated. Exits with 2 if an
    upload could not be taken over.
    """
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.commands.writing import keeping_owner
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError
    from tusd_py.model.ids import is_owner

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory" or not settings.has_database:
        fail(["uploads or records are in memory: there is nothing to import to"])
    if not is_owner(owner):
        fail(["--owner must be at most 255 characters of text"])
    try:
        require_database(settings)
        if not directory.is_dir():
            fail([f"{directory} is not a directory"])
        with keeping_owner(settings):
            counts = asyncio.run(_import(settings, _Import(directory, owner, dry_run, remove, as_json)))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError) as error:
        fail([reason(error)])
    if not as_json:
        verb = "would be taken over" if dry_run else "taken over"
        say(f"{counts['imported']} {verb}, {counts['known']} were here already, {counts['skipped']} left out")
    if counts["skipped"]:
        sys.exit(_EXIT_SKIPPED)


async def _import(settings: Settings, task: _Import) -> Counter[str]:
    from tusd_py.imports.tusd_directory import info_paths
    from tusd_py.wiring import opened_ports

    counts: Counter[str] = Counter()
    async with opened_ports(settings) as ports:
        for path in info_paths(task.directory):
            outcome, upload_id, text = await task.take_over(ports, path, settings.server.base_path)
            counts[outcome] += 1
            say(json.dumps({"id": upload_id, "outcome": outcome, "text": text}) if task.as_json else text)
    return counts


class _Import:
    """What the flags ask for."""

    def __init__(self, directory: Path, owner: str, dry_run: bool, remove: bool, as_json: bool) -> None:
        self.directory = directory
        self.as_json = as_json
        self._owner = owner
        self._dry_run = dry_run
        self._remove = remove

    async def take_over(self, ports: Ports, info_path: Path, base_path: str) -> tuple[str, str, str]:
        """Take over one upload. Return the outcome (imported, known, skipped), its id, and a line for the operator."""
        from tusd_py.contracts.store import PathTaken
        from tusd_py.imports.tusd_directory import open_files
        from tusd_py.imports.tusd_info import InfoInvalid
        from tusd_py.uploads.adopt import AlreadyRecorded, Changed, adopt

        name = info_path.name.removesuffix(".info")
        try:
            files = open_files(self.directory, info_path)
            upload = files.info.to_upload(files.stored_bytes, files.written_at, base_path=base_path, owner=self._owner)
            if self._dry_run:
                if await ports.records.find(upload.id) is not None:
                    raise AlreadyRecorded
            else:
                await adopt(ports, upload, files.read())
                if self._remove:
                    files.remove()
        except InfoInvalid as invalid:
            return "skipped", name, f"left out {name}: {invalid}"
        except PathTaken as taken:
            return "skipped", name, f"left out {name}: {taken}"
        except Changed:
            return "skipped", name, f"left out {name}: its file changed meanwhile; stop tusd first"
        except AlreadyRecorded:
            return "known", name, f"{name} is here already"
        length = "unknown" if upload.length is None else upload.length
        return "imported", upload.id, f"{upload.id} {upload.kind} {upload.offset} of {length} bytes"
