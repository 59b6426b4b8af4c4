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
    from collections.abc import AsyncIterator

    from tusd_py.imports.tusd_bucket import TusdBucket, TusdObjects
    from tusd_py.imports.tusd_directory import TusdDirectory, TusdFiles
    from tusd_py.imports.tusd_info import InfoInvalid
    from tusd_py.settings import Settings
    from tusd_py.uploads.ports import Ports

app = command_group("Take over the uploads of another server.")

Source = Annotated[
    str,
    typer.Argument(
        metavar="<source>",
        help="The upload directory of tusd (-upload-dir), or s3://<bucket>/<prefix> (-s3-bucket, -s3-object-prefix).",
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--s3-endpoint",
        metavar="<url>",
        help="Where the bucket of tusd is, with the credentials of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. "
        "[that of the settings, with theirs]",
    ),
]
Owner = Annotated[str, typer.Option("--owner", metavar="<owner>", help="The owner of the uploads. [none]")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be taken over.")]
Remove = Annotated[
    bool, typer.Option("--remove", help="Delete what tusd has of each upload that was taken over just now.")
]
Unfinished = Annotated[
    bool,
    typer.Option("--unfinished", help="Leave complete uploads where they are, but for partial ones."),
]
_EXIT_SKIPPED = 2


@app.callback()
def _group() -> None:
    """Make the one command that there is a subcommand."""


@app.command("tusd")
def import_tusd(
    source: Source,
    s3_endpoint: Endpoint = "",
    owner: Owner = "",
    dry_run: DryRun = False,
    unfinished: Unfinished = False,
    remove: Remove = False,
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Copy the uploads in the directory or the bucket of a tusd server, with their URLs, metadata and offsets.

    Stop tusd first. Uploads that are recorded here already are left out, so it can be repeated. Exits with 2 if an
    upload could not be taken over.
    """
    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
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
        found = _source(settings, source, s3_endpoint)
        with keeping_owner(settings):
            counts = asyncio.run(_import(settings, found, _Import(owner, dry_run, unfinished, remove, as_json)))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError) as error:
        fail([reason(error)])
    if not as_json:
        verb = "would be taken over" if dry_run else "taken over"
        complete = f"{counts['complete']} complete, " if unfinished else ""
        say(f"{counts['imported']} {verb}, {complete}{counts['known']} were here already, {counts['skipped']} left out")
    if counts["skipped"]:
        sys.exit(_EXIT_SKIPPED)


def _source(settings: Settings, source: str, endpoint: str) -> TusdDirectory | TusdBucket:
    """The directory or the bucket that ``source`` names. Exits with a sentence if it cannot be read."""
    from tusd_py.imports.tusd_directory import TusdDirectory

    if "://" not in source:
        if endpoint:
            fail(["--s3-endpoint needs a source like s3://bucket/prefix"])
        if not Path(source).is_dir():
            fail([f"{source} is not a directory"])
        return TusdDirectory(Path(source))
    from tusd_py.imports.tusd_bucket import TusdBucket, bucket_and_prefix
    from tusd_py.wiring.stores import make_s3_client, removes_unknown_objects

    found = bucket_and_prefix(source)
    if found is None:
        fail([f"{source} is not like s3://bucket/prefix"])
    bucket, prefix = found
    if not endpoint and removes_unknown_objects(settings, bucket, prefix):
        fail(
            [
                f"the maintenance of this server removes objects below {source} that it does not know: "
                "set s3.prefix to something else"
            ]
        )
    return TusdBucket(make_s3_client(settings, bucket, endpoint), prefix)


async def _import(settings: Settings, source: TusdDirectory | TusdBucket, task: _Import) -> Counter[str]:
    from contextlib import aclosing

    from tusd_py.wiring.ports import opened_ports

    counts: Counter[str] = Counter()
    uploads: AsyncIterator[tuple[str, TusdFiles | TusdObjects | InfoInvalid]] = source.uploads()
    try:
        async with opened_ports(settings) as ports, aclosing(uploads):  # type: ignore[type-var]  # they are generators
            async for name, found in uploads:
                outcome, line, details = await task.take_over(ports, name, found, settings.server.base_path)
                counts[outcome] += 1
                say(json.dumps({**details, "outcome": outcome, "text": line}) if task.as_json else line)
    finally:
        await source.close()
    return counts


class _Import:
    """An import with the options of the command."""

    def __init__(self, owner: str, dry_run: bool, unfinished: bool, remove: bool, as_json: bool) -> None:
        self.as_json = as_json
        self._owner = owner
        self._dry_run = dry_run
        self._unfinished = unfinished
        self._remove = remove

    async def take_over(
        self, ports: Ports, name: str, found: TusdFiles | TusdObjects | InfoInvalid, base_path: str
    ) -> tuple[str, str, dict[str, str]]:
        """Take over one upload. Return the outcome, a line for the operator, and its ids.

        Outcomes are imported, known, complete and skipped.
        """
        from tusd_py.contracts.store import PathTaken
        from tusd_py.imports.tusd_info import InfoInvalid
        from tusd_py.model.upload import Kind
        from tusd_py.uploads.adopt import AlreadyRecorded, ContentChanged, adopt

        ids = {"id": name}
        try:
            if isinstance(found, InfoInvalid):
                raise found
            ids = {"id": found.info.id, "tusd_id": found.info.tusd_id}
            upload = found.info.to_upload(found.stored_bytes, found.written_at, base_path=base_path, owner=self._owner)
            # A client may still concatenate a partial upload.
            if self._unfinished and upload.is_complete and upload.kind is not Kind.PARTIAL:
                return "complete", f"{name} is complete", ids
            if self._dry_run:
                if await ports.records.find(upload.id) is not None:
                    raise AlreadyRecorded
            else:
                await adopt(ports, upload, found.read())
                if self._remove:
                    await found.remove()
        except InfoInvalid as invalid:
            return "skipped", f"left out {name}: {invalid}", ids
        except PathTaken as taken:
            return "skipped", f"left out {name}: {taken}", ids
        except ContentChanged:
            return "skipped", f"left out {name}: its bytes changed meanwhile; stop tusd first", ids
        except AlreadyRecorded:
            return "known", f"{name} is here already", ids
        length = "unknown" if upload.length is None else upload.length
        alias = "" if upload.id == found.info.tusd_id else f" (here {upload.id})"
        line = f"{found.info.tusd_id}{alias} {upload.kind} {upload.offset} of {length} bytes"
        return "imported", line, ids
