"""Backs up records and bytes while the server runs, and restores them while it does not. All calls block.

A backup is a directory: ``tusd.sqlite3``, optionally ``uploads``, and ``manifest.json``, which is written last.
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
from tusd_py.data_directory import DATA_DIR_MODE, location_of, mirror_uploads
from tusd_py.databases import copy_records, is_records_in_use, keep_revocations, open_records, records_damage
from tusd_py.model.upload import Status, Upload
from tusd_py.settings import Settings
from tusd_py.views import format_time

MANIFEST, DATABASE, UPLOADS = "manifest.json", "tusd.sqlite3", "uploads"
#: In the data directory while a restore is under way; a server does not start beside it.
RESTORING = ".restoring"
_FORMAT = 1
_DATABASE_FILES = ("", "-wal", "-shm", "-journal")
_LIMIT = 2**31


class BackupError(Exception):
    """The backup or the restore cannot be done; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a backup or a restore has copied."""

    files: int | None  # None if the bytes of uploads were left out
    shared: int = 0  # of these, files that share their bytes with the source
    replaced: Path | None = None  # where a restore has moved what was there before
    revoked: Mapping[str, int] = field(default_factory=dict)  # credentials that a restore has revoked, by table
    knew_revocations: bool = True  # whether the database before said which


def back_up(settings: Settings, directory: Path, *, with_bytes: bool, may_link: bool) -> Result:
    """Write a backup into the new or empty ``directory``, beside a running server or without one.

    The database is copied first: no record then claims bytes that the copy lacks, except for uploads that end in
    between. Raises ``BackupError``, ``OSError`` or ``RecordsError``.
    """
    database = _database(settings)
    if with_bytes:
        _ensure_bytes_on_disk(settings)
    if not database.exists():
        raise BackupError(f"there is no database at {database}: check --data-dir, the configuration and the directory")
    _make_empty(directory)
    copy_records(settings, directory / DATABASE)
    if problem := records_damage(directory / DATABASE, is_constant=True):
        raise BackupError(f"the database {database} is damaged: {problem}")
    files = shared = 0
    if with_bytes:
        unfinished = set(_unfinished_paths(settings)) if may_link else set()
        # An unfinished upload is still written to: a hard link would change with it.
        files, shared = mirror_uploads(settings, directory / UPLOADS, lambda path: may_link and path not in unfinished)
    _write_manifest(directory, with_bytes=with_bytes, files=files)
    _share_with_group(settings, directory)
    return Result(files if with_bytes else None, shared)


def restore(settings: Settings, directory: Path, *, replace: bool, keep_credentials: bool = False) -> Result:
    """Put a backup into the data directory, while no server and no worker runs.

    With ``replace`` a database and uploads that are there are moved aside first, together with SQLite's logs, which
    would corrupt the restored database. What was revoked since the backup stays revoked; if no database is there that
    says so, all keys, links, codes and sessions are, unless ``keep_credentials`` accepts that. Interrupted, it can be
    repeated. Raises ``BackupError``, ``OSError`` or
    ``RecordsError``; then nothing has been replaced.
    """
    data_dir, database = Path(settings.storage.data_dir), _database(settings)
    manifest = read_manifest(directory)
    if has_bytes := bool(manifest["bytes"]):
        _ensure_bytes_on_disk(settings)
    data_dir.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    _as_owner_of(data_dir)
    was_interrupted = (data_dir / RESTORING).exists()
    uploads = data_dir / UPLOADS if has_bytes else None
    if (present := list(_present(database, uploads))) and not replace and not was_interrupted:
        raise BackupError(f"{present[-1]} exists: stop the server and its workers, then add --replace to move it aside")
    if database.exists() and is_records_in_use(database):
        raise BackupError(f"a server or worker has {database} open: stop the server and every worker first")
    staging = data_dir / RESTORING
    if was_interrupted:
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700)
    shutil.copyfile(directory / DATABASE, staging / DATABASE)
    (staging / DATABASE).chmod(0o640)
    before = _database_before(database, data_dir, was_interrupted)
    revoked, knew_revocations = _keep_revoked(staging / DATABASE, before, keep_credentials)
    _sync(staging / DATABASE)
    files = mirror_uploads(settings, staging / UPLOADS, lambda _: False, directory / UPLOADS)[0] if has_bytes else None
    # Again: looking whether the database is in use has removed the log of a killed server.
    replaced = _move_aside(data_dir, present) if (present := list(_present(database, uploads))) else None
    database.parent.mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)
    shutil.move(staging / DATABASE, database)
    if has_bytes:
        (staging / UPLOADS).rename(data_dir / UPLOADS)
    _sync(database.parent)
    _sync(data_dir)
    staging.rmdir()
    return Result(files, 0, replaced, revoked, knew_revocations)


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
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise BackupError(f"{directory / MANIFEST} was written by another version of tusd-py")
    if _digest(directory / DATABASE) != manifest["database_sha256"]:
        raise BackupError(f"{directory / DATABASE} has changed since the backup was made")
    # The directory may be on a medium that is read-only, and the copy of an older version has a write-ahead log.
    if problem := records_damage(directory / DATABASE, is_constant=True):
        raise BackupError(f"{directory / DATABASE} is damaged: {problem}")
    return manifest


def _database(settings: Settings) -> Path:
    if settings.database_path is not None:
        return Path(settings.database_path)
    if not settings.has_database:
        raise BackupError("the records are in memory: there is nothing to back up or to restore")
    raise BackupError(
        "the records are in PostgreSQL: back them up with pg_dump, and afterwards the bytes of uploads with a tool for "
        f"{_place_of_bytes(settings)}"
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
            return await records.list_uploads(statuses, limit=_LIMIT)

    return asyncio.run(find())


def _unfinished_paths(settings: Settings) -> Iterator[Path]:
    return (location_of(settings, upload) for upload in _uploads(settings, [Status.UPLOADING]))


def _write_manifest(directory: Path, *, with_bytes: bool, files: int) -> None:
    manifest = {
        "format": _FORMAT,
        "version": version("tusd-py"),
        "created_at": format_time(datetime.now(UTC)),
        "database_sha256": _digest(directory / DATABASE),
        "bytes": with_bytes,
        "files": files,
    }
    partial = directory / f".{MANIFEST}"
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    _sync(partial)
    _sync(directory / DATABASE)
    partial.rename(directory / MANIFEST)
    _sync(directory)


def _share_with_group(settings: Settings, directory: Path) -> None:
    """Let the group of the data directory read a backup that root has made, so that its user can restore it."""
    if os.geteuid() == 0:
        group = Path(settings.storage.data_dir).stat().st_gid
        for path in (directory, directory / DATABASE, directory / MANIFEST):
            os.chown(path, -1, group)
            path.chmod(0o750 if path.is_dir() else 0o640)
        for folder, _, names in os.walk(directory / UPLOADS):
            os.chown(folder, -1, group)
            for name in names:
                os.chown(Path(folder, name), -1, group)


def _as_owner_of(data_dir: Path) -> None:
    """Continue as the owner of the directory, if this process is root: the server must be able to write to the files.

    It is also why a user who owns the directory cannot trick root into writing elsewhere.
    """
    if os.geteuid() == 0 and (owner := data_dir.stat()).st_uid != 0:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def _present(database: Path, uploads: Path | None) -> Iterator[Path]:
    """What a restore replaces. SQLite's logs come first: without its log a database is only older."""
    paths = [Path(f"{database}{suffix}") for suffix in reversed(_DATABASE_FILES)]
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
