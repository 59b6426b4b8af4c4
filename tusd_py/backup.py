"""Backs up records and bytes while the server runs, and restores them while it does not. All calls block.

A backup is a directory: ``tusd.sqlite3`` or ``postgresql``, optionally ``uploads``, and ``manifest.json``, which is
written last.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tusd_py.contracts.records import RecordsError
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.listing import UploadFilter
from tusd_py.settings import Settings
from tusd_py.uploads.listing import listed
from tusd_py.views import format_time
from tusd_py.wiring.data_directory import DATA_DIR_MODE, location_of, mirror_uploads
from tusd_py.wiring.databases import (
    changed_copy,
    copy_records,
    ensure_restorable,
    is_records_in_use,
    keep_revocations,
    open_records,
    records_damage,
    restored_records,
)

MANIFEST, DATABASE, TABLES, UPLOADS = "manifest.json", "tusd.sqlite3", "postgresql", "uploads"
#: In the data directory while a restore is under way; a server does not start beside it.
RESTORING = ".restoring"
#: By what the records were in; versions that know only the first one refuse the other by its number.
_FORMATS = {DATABASE: 1, TABLES: 2}
_DATABASE_FILES = ("", "-wal", "-shm", "-journal")


class BackupError(Exception):
    """The backup or the restore cannot be done; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a backup or a restore."""

    files: int | None  # None if the bytes of uploads were left out
    shared: int = 0  # of these, files that share their bytes with the source
    replaced: str = ""  # where a restore has moved what was there before
    revoked: Mapping[str, int] = field(default_factory=dict)  # credentials that a restore has revoked, by table
    knew_revocations: bool = True  # whether the database before said which


def back_up(settings: Settings, directory: Path, *, with_bytes: bool, may_link: bool) -> Result:
    """Write a backup into the new or empty ``directory``, beside a running server or without one.

    The database is copied first: no record then claims bytes that the copy lacks, except for uploads that end in
    between. Raises ``BackupError``, ``OSError`` or ``RecordsError``.
    """
    _ensure_database(settings)
    if with_bytes:
        _ensure_bytes_on_disk(settings)
    if settings.database_path is not None and not Path(settings.database_path).exists():
        raise BackupError(
            f"there is no database at {settings.database_path}: check --data-dir, the configuration and the directory"
        )
    _make_empty(directory)
    described = _copy_records(settings, directory)
    files = shared = 0
    if with_bytes:
        unfinished = set(_unfinished_paths(settings)) if may_link else set()
        # An unfinished upload is still written to: a hard link would change with it.
        files, shared = mirror_uploads(settings, directory / UPLOADS, lambda path: may_link and path not in unfinished)
    _write_manifest(directory, described | {"bytes": with_bytes, "files": files})
    _share_with_group(settings, directory)
    return Result(files if with_bytes else None, shared)


def _copy_records(settings: Settings, directory: Path) -> dict[str, object]:
    """Copy the database; return what the manifest says of it."""
    if settings.database_path is None:
        return {"format": _FORMATS[TABLES], TABLES: copy_records(settings, directory / TABLES)}
    copy_records(settings, directory / DATABASE)
    if problem := records_damage(directory / DATABASE, is_constant=True):
        raise BackupError(f"the database {settings.database_path} is damaged: {problem}")
    _sync(directory / DATABASE)
    return {"format": _FORMATS[DATABASE], "database_sha256": _digest(directory / DATABASE)}


def restore(settings: Settings, directory: Path, *, replace: bool, keep_credentials: bool = False) -> Result:
    """Put a backup into the data directory, while no server and no worker runs.

    With ``replace`` a database and uploads that are there are moved aside first, together with SQLite's logs, which
    would corrupt the restored database; tables of PostgreSQL move to a schema of their own. What was revoked since the
    backup stays revoked; if no database is there that says so, all keys, links, codes and sessions are, unless
    ``keep_credentials`` accepts that. Interrupted, it can be repeated.

    Raises ``BackupError``, ``OSError`` or ``RecordsError``; then nothing has been replaced.
    """
    _ensure_database(settings)
    manifest = read_manifest(directory)
    _ensure_same_kind(settings, manifest)
    if has_bytes := bool(manifest["bytes"]):
        _ensure_bytes_on_disk(settings)
    data_dir = Path(settings.storage.data_dir)
    data_dir.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    _as_owner_of(data_dir)
    was_interrupted = (data_dir / RESTORING).exists()
    uploads = data_dir / UPLOADS if has_bytes else None
    if TABLES in manifest:
        can_replace = replace or was_interrupted
        return _restore_tables(settings, directory, manifest[TABLES], uploads, can_replace, keep_credentials)
    return _restore_file(settings, directory, uploads, replace, was_interrupted, keep_credentials)


def _restore_file(
    settings: Settings, directory: Path, uploads: Path | None, replace: bool, was_interrupted: bool, keep: bool
) -> Result:
    """Restore a SQLite database, with the bytes if ``uploads`` names their place."""
    assert settings.database_path is not None, "checked before"
    data_dir, database = Path(settings.storage.data_dir), Path(settings.database_path)
    if (present := list(_present(database, uploads))) and not replace and not was_interrupted:
        raise BackupError(f"{present[-1]} exists: stop the server and its workers, then add --replace to move it aside")
    if database.exists() and is_records_in_use(database):
        raise BackupError(f"a server or worker has {database} open: stop the server and every worker first")
    staging = _make_staging(data_dir)
    shutil.copyfile(directory / DATABASE, staging / DATABASE)
    (staging / DATABASE).chmod(0o640)
    before = _database_before(database, data_dir, was_interrupted)
    revoked, knew_revocations = _keep_revoked(staging / DATABASE, before, keep)
    _sync(staging / DATABASE)
    files = _stage_uploads(settings, directory, staging) if uploads else None
    # Again: looking whether the database is in use has removed the log of a killed server.
    replaced = _move_aside(data_dir, present) if (present := list(_present(database, uploads))) else ""
    database.parent.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    shutil.move(staging / DATABASE, database)
    _sync(database.parent)
    _put_uploads_in_place(staging, uploads)
    return Result(files, 0, str(replaced), revoked, knew_revocations)


def _restore_tables(
    settings: Settings, directory: Path, description: object, uploads: Path | None, replace: bool, keep: bool
) -> Result:
    """Restore tables of PostgreSQL in one transaction, with the bytes if ``uploads`` names their place."""
    data_dir = Path(settings.storage.data_dir)
    present = list(_present(None, uploads))
    if present and not replace:
        raise BackupError(f"{present[-1]} exists: stop the server and its workers, then add --replace to move it aside")
    ensure_restorable(settings, replace=replace)
    was_interrupted = (data_dir / RESTORING).exists()
    staging = _make_staging(data_dir)
    name, is_committing = f"replaced_{datetime.now(UTC):%Y%m%dt%H%M%Sz}", False
    try:
        files = _stage_uploads(settings, directory, staging) if uploads else None
        with restored_records(
            settings, directory / TABLES, description, replace=replace, keep_credentials=keep, name=name
        ) as restored:
            is_committing = True
    except BaseException:
        # Else it is not known whether the tables are restored, now or by the attempt before: it has to be repeated.
        if not is_committing and not was_interrupted:
            shutil.rmtree(staging)
        raise
    places = [f"the schema {restored.replaced} of the database"] if restored.replaced else []
    if present:
        places.append(str(_move_aside(data_dir, present)))
    _put_uploads_in_place(staging, uploads)
    return Result(files, 0, " and ".join(places), restored.revoked, restored.knew_revocations)


def _make_staging(data_dir: Path) -> Path:
    """The empty directory that says that a restore is under way."""
    staging = data_dir / RESTORING
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700)
    return staging


def _stage_uploads(settings: Settings, directory: Path, staging: Path) -> int:
    return mirror_uploads(settings, staging / UPLOADS, lambda _: False, directory / UPLOADS)[0]


def _put_uploads_in_place(staging: Path, uploads: Path | None) -> None:
    """The last step of a restore."""
    if uploads is not None:
        (staging / UPLOADS).rename(uploads)
    _sync(staging.parent)
    staging.rmdir()


def _keep_revoked(restored: Path, before: Path | None, keep_credentials: bool) -> tuple[Mapping[str, int], bool]:
    """What was revoked in the restored database, by table, and whether ``before`` could say what was to be."""
    if before is not None:
        try:
            return keep_revocations(restored, before), True
        except RecordsError:
            pass  # it is damaged, which may be the reason for the restore
    return ({} if keep_credentials else keep_revocations(restored, None)), False


def _database_before(database: Path, data_dir: Path, was_interrupted: bool) -> Path | None:
    """The database that the restore replaces; an interrupted restore may have moved it aside already."""
    if database.exists():
        return database
    moved = sorted(data_dir.glob(f"replaced-*/{database.name}")) if was_interrupted else []
    return moved[-1] if moved else None


def missing_bytes(settings: Settings) -> list[str]:
    """The ids of recorded uploads that have fewer bytes on disk than their record claims; only for bytes on disk."""

    def is_missing(upload: Upload) -> bool:
        path = location_of(settings, upload)
        return bool(upload.offset) and (not path.is_file() or path.stat().st_size < upload.offset)

    living = [status for status in Status if status not in (Status.EXPIRED, Status.TERMINATED, Status.FAILED)]
    return [upload.id for upload in _uploads(settings, living) if is_missing(upload)]


def read_manifest(directory: Path) -> dict[str, object]:
    """The manifest of a complete backup whose database is sound. Raises ``BackupError``."""
    try:
        manifest: dict[str, object] = json.loads((directory / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"{directory} has no {MANIFEST}: it is no backup, or one that was interrupted") from None
    except ValueError:
        raise BackupError(f"{directory / MANIFEST} is damaged") from None
    if not isinstance(manifest, dict) or manifest.get("format") not in _FORMATS.values():
        raise BackupError(f"{directory / MANIFEST} was written by another version of tusd-py")
    if TABLES in manifest:
        _ensure_unchanged(directory, manifest[TABLES])
        return manifest
    if _digest(directory / DATABASE) != manifest["database_sha256"]:
        raise BackupError(f"{directory / DATABASE} has changed since the backup was made")
    # The directory may be on a medium that is read-only, and the copy of an older version has a write-ahead log.
    if problem := records_damage(directory / DATABASE, is_constant=True):
        raise BackupError(f"{directory / DATABASE} is damaged: {problem}")
    return manifest


def _ensure_unchanged(directory: Path, description: object) -> None:
    try:
        changed = changed_copy(directory / TABLES, description)
    except ValueError:
        raise BackupError(f"{directory / MANIFEST} is damaged, or was written by another version") from None
    if changed is not None:
        raise BackupError(f"{changed} has changed since the backup was made")


def _ensure_database(settings: Settings) -> None:
    if not settings.has_database:
        raise BackupError("the records are in memory: there is nothing to back up or to restore")


def _ensure_same_kind(settings: Settings, manifest: dict[str, object]) -> None:
    if TABLES in manifest and settings.database_path is not None:
        raise BackupError("the backup is of records in PostgreSQL: set records.url to the database to restore it into")
    if TABLES not in manifest and settings.database_path is None:
        raise BackupError(
            "the backup is of a SQLite database: restore it without records.url, into a new data directory, then move "
            "it with tusd-py migrate --from sqlite:///PATH --to postgresql://..."
        )


def _ensure_bytes_on_disk(settings: Settings) -> None:
    if settings.storage.kind != "disk":
        raise BackupError(
            f"the bytes of uploads are not on this machine's disk but in {_place_of_bytes(settings)}: only a backup "
            "with --bytes none is possible, of the records"
        )


def _place_of_bytes(settings: Settings) -> str:
    places = {"s3": f"the bucket {settings.s3.bucket}", "memory": "memory"}
    return places.get(settings.storage.kind, f"the directory {Path(settings.storage.data_dir) / UPLOADS}")


def _make_empty(directory: Path) -> None:
    directory.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    if next(directory.iterdir(), None) is not None:
        raise BackupError(f"{directory} is not empty: name a new directory for each backup")


def _uploads(settings: Settings, statuses: Sequence[Status]) -> list[Upload]:
    async def find() -> list[Upload]:
        async with open_records(settings) as records:
            return [upload async for upload in listed(records, UploadFilter(statuses=frozenset(statuses)))]

    return asyncio.run(find())


def _unfinished_paths(settings: Settings) -> Iterator[Path]:
    return (location_of(settings, upload) for upload in _uploads(settings, [Status.UPLOADING]))


def _write_manifest(directory: Path, described: Mapping[str, object]) -> None:
    manifest = {"version": version("tusd-py"), "created_at": format_time(datetime.now(UTC)), **described}
    partial = directory / f".{MANIFEST}"
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    _sync(partial)
    partial.rename(directory / MANIFEST)
    _sync(directory)


def _share_with_group(settings: Settings, directory: Path) -> None:
    """Let the group of the data directory read a backup that root has made, so that its user can restore it."""
    if os.geteuid() == 0:
        group = Path(settings.storage.data_dir).stat().st_gid
        records = (directory / DATABASE, directory / TABLES, *directory.glob(f"{TABLES}/*"))
        for path in (directory, *filter(Path.exists, records), directory / MANIFEST):
            os.chown(path, -1, group)
            path.chmod(0o750 if path.is_dir() else 0o640)
        for folder, _, names in os.walk(directory / UPLOADS):
            os.chown(folder, -1, group)
            for name in names:
                os.chown(Path(folder, name), -1, group)


def _as_owner_of(data_dir: Path) -> None:
    """Continue as the owner of the directory, if this process is root: the server must be able to write to the files.

    This also prevents the owner of the directory from making root write elsewhere.
    """
    if os.geteuid() == 0 and (owner := data_dir.stat()).st_uid != 0:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def _present(database: Path | None, uploads: Path | None) -> Iterator[Path]:
    """The files that a restore replaces. SQLite's logs come first: without its log a database is only older."""
    paths = [Path(f"{database}{suffix}") for suffix in reversed(_DATABASE_FILES)] if database is not None else []
    yield from (path for path in paths if os.path.lexists(path))
    if uploads is not None and uploads.is_dir() and next(uploads.iterdir(), None) is not None:
        yield uploads


def _move_aside(data_dir: Path, present: list[Path]) -> Path:
    replaced = data_dir / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    replaced.mkdir(mode=DATA_DIR_MODE)
    for path in present:
        shutil.move(path, replaced / path.name)
    return replaced


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_no_restore(settings: Settings) -> None:
    """Raise ``BackupError`` if a restore was interrupted or is under way: the data is incomplete."""
    if settings.storage.kind != "memory" and (Path(settings.storage.data_dir) / RESTORING).exists():
        raise BackupError(
            f"{settings.storage.data_dir} is being restored, or a restore was interrupted: run tusd-py restore again"
        )
