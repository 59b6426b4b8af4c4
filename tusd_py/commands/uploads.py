"""``tusd-py uploads list | show | delete | expire``: the recorded uploads."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

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
from tusd_py.commands.operator_audit import operator
from tusd_py.commands.output import say_empty
from tusd_py.model.ids import known_id
from tusd_py.model.upload import Status, Upload

if TYPE_CHECKING:
    from tusd_py.contracts.records import Records
    from tusd_py.settings import Settings
    from tusd_py.uploads.ports import Ports

app = command_group("List, show, delete and expire uploads.")

UploadId = Annotated[str, typer.Argument(metavar="<id>", help="The id of the upload: the last part of its URL.")]
UploadIds = Annotated[list[str], typer.Argument(metavar="<id>...", help="Ids of uploads, as shown by list.")]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="<status>",
        help=f"Only uploads in this status, of {', '.join(Status)}; may be given several times. "
        "[all but expired and terminated]",
    ),
]
OfOwner = Annotated[
    str | None,
    typer.Option(
        "--owner", metavar="<owner>", help="Only uploads of this owner; an empty name selects uploads without an owner."
    ),
]
Named = Annotated[
    str,
    typer.Option("--name", metavar="<prefix>", help="Only files whose names begin with this; they are listed by name."),
]
CreatedFrom = Annotated[
    str, typer.Option("--created-from", metavar="<time>", help="Only uploads created at this time or later.")
]
CreatedBefore = Annotated[
    str, typer.Option("--created-before", metavar="<time>", help="Only uploads created before this time.")
]
DeclaredType = Annotated[str, typer.Option("--declared-type", metavar="<type>", help="Only files said to be of it.")]
DetectedType = Annotated[str, typer.Option("--detected-type", metavar="<type>", help="Only files found to be of it.")]
OfGrant = Annotated[
    str, typer.Option("--grant", metavar="<id>", help="Only uploads made with this upload link or access code.")
]
Limit = Annotated[str, typer.Option("--limit", metavar="<number>", help="How many uploads.")]
#: Uploads are printed as they are read, so that any number can be listed.
_LIMIT_MAX = 10**9
_LIVING = [status for status in Status if status not in (Status.EXPIRED, Status.TERMINATED)]
_IN_MEMORY = "only the server process that holds the records can list them"


@app.command("list")
def list_uploads(
    status: Statuses = None,
    owner: OfOwner = None,
    name: Named = "",
    created_from: CreatedFrom = "",
    created_before: CreatedBefore = "",
    declared_type: DeclaredType = "",
    detected_type: DetectedType = "",
    grant: OfGrant = "",
    limit: Limit = "50",
    as_json: AsJson = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List uploads, newest first. The filters are those of GET /api/uploads."""
    from tusd_py.commands.database import with_database
    from tusd_py.protocol.listing import FAR, UploadFilter, microseconds, name_key
    from tusd_py.uploads.listing import listed
    from tusd_py.views import upload_view
    from tusd_py.wiring.databases import open_records

    wanted = UploadFilter(
        statuses=frozenset(choices("--status", status or [], Status) or _LIVING),
        owner=owner,
        created_from=microseconds(instant("--created-from", created_from), 0),
        created_before=microseconds(instant("--created-before", created_before), FAR),
        name_prefix=name_key(name),
        declared_type=declared_type.lower(),
        detected_type=detected_type.lower(),
        grant=grant,
    )
    count = row_limit(limit, most=_LIMIT_MAX)

    async def run(records: Records) -> int:
        number = 0
        async for upload in listed(records, wanted, count):
            say(json.dumps(upload_view(upload)) if as_json else _line(upload))
            number += 1
        return number

    if (
        not with_database(settings_of(config, {"storage.data_dir": data_dir}), open_records, run, _IN_MEMORY)
        and not as_json
    ):
        say_empty("no uploads")


@app.command()
def show(upload_id: UploadId, config: Config = None, data_dir: DataDir = None) -> None:
    """Print one upload as JSON."""
    from tusd_py.commands.database import with_database
    from tusd_py.views import upload_view
    from tusd_py.wiring.databases import open_records

    settings = settings_of(config, {"storage.data_dir": data_dir})
    found_id = known_id(upload_id) or upload_id
    upload = with_database(settings, open_records, lambda records: records.find(found_id), _IN_MEMORY)
    if upload is None:
        fail([f"upload {upload_id} does not exist; tusd-py uploads list shows the newest uploads"])
    say(json.dumps(upload_view(upload), indent=2))


@app.command()
def delete(upload_ids: UploadIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Terminate uploads and delete their bytes, also while a client is sending."""
    from tusd_py.uploads.administer import delete_upload

    _each(settings_of(config, {"storage.data_dir": data_dir}), upload_ids, delete_upload, "deleted")


@app.command()
def expire(upload_ids: UploadIds, config: Config = None, data_dir: DataDir = None) -> None:
    """Expire uploads now and delete their bytes, also while a client is sending."""
    from tusd_py.uploads.administer import expire_upload

    _each(settings_of(config, {"storage.data_dir": data_dir}), upload_ids, expire_upload, "expired")


def _each(settings: Settings, upload_ids: list[str], act: Callable[[Ports, str], Awaitable[Upload]], done: str) -> None:
    from tusd_py.commands.database import with_database
    from tusd_py.contracts.locker import LocksUnavailable, LockTimeout
    from tusd_py.contracts.records import RecordConflict
    from tusd_py.contracts.store import StoreError
    from tusd_py.uploads.administer import CannotEnd
    from tusd_py.wiring.ports import opened_ports

    if settings.storage.kind == "memory":
        fail(["uploads are in memory: only the server process that holds them can end them"])

    async def run(ports: Ports) -> list[str]:
        """A sentence for each upload that could not be ended, empty for the others."""
        if ports.audit is not None:
            ports.audit.own_actor = operator()
        results = []
        for upload_id in upload_ids:
            try:
                await act(ports, known_id(upload_id) or upload_id)
            except CannotEnd as error:
                results.append(f"upload {upload_id} {error}")
            except (StoreError, LocksUnavailable) as error:
                results.append(f"upload {upload_id}: {error}")
            except (LockTimeout, RecordConflict):
                results.append(f"upload {upload_id} is being changed by another process; try again")
            else:
                results.append("")
        return results

    results = with_database(settings, opened_ports, run, _IN_MEMORY)
    for upload_id, problem in zip(upload_ids, results, strict=True):
        if not problem:
            say(f"upload {upload_id} {done}")
    if any(results):
        fail([problem for problem in results if problem])


def _line(upload: Upload) -> str:
    from tusd_py.views import format_time, name_view

    name = name_view(upload)
    size = f"{upload.offset}/{'?' if upload.length is None else upload.length}"
    return "  ".join(
        [
            f"{format_time(upload.created_at)}  {upload.status:<10}  {upload.id}  {size}",
            *filter(None, [upload.owner, name]),
        ]
    )
