"""Makes the store that the settings name: files on disk, or objects in a bucket. A part of ``wiring``, as ``lockers``."""

from __future__ import annotations

from pathlib import Path

from tusd_py.contracts.store import Store
from tusd_py.settings import Settings
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.s3.client import S3Account
from tusd_py.storage.s3.store import S3Store


def make_store(settings: Settings) -> Store:
    """The store for the bytes of uploads. It does no I/O before its first use."""
    if settings.storage.kind == "disk":
        return DiskStore(Path(settings.storage.data_dir) / "uploads", file_mode=int(settings.storage.file_mode, 8))
    s3 = settings.s3
    return S3Store(
        S3Account(
            bucket=s3.bucket,
            endpoint_url=s3.endpoint_url,
            region=s3.region,
            access_key=s3.access_key,
            secret_key=s3.secret_key,
        ),
        prefix=s3.prefix,
        part_bytes=s3.part_bytes,
        part_bytes_max=s3.part_bytes_max,
        memory_bytes=s3.memory_bytes,
        parallel_parts=s3.parallel_parts,
    )
