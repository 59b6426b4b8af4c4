"""Makes the store that the settings name: files on disk, or objects in a bucket. A part of ``wiring``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tusd_py.contracts.store import Store, StoreUnavailable
from tusd_py.settings import Settings
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.storage.s3.client import S3Account
from tusd_py.storage.s3.store import S3Store

#: Storage in memory is for trials; more than this is refused as a full store.
_MEMORY_BYTES_MAX = 1024**3


def make_store(settings: Settings) -> Store:
    """The store for the bytes of uploads. It does no I/O before its first use.

    Raises ``StoreUnavailable`` if the package for S3 is not installed.
    """
    if settings.storage.kind == "memory":
        return MemoryStore(bytes_max=_MEMORY_BYTES_MAX)
    if settings.storage.kind == "disk":
        return DiskStore(Path(settings.storage.data_dir) / "uploads", file_mode=int(settings.storage.file_mode, 8))
    if importlib.util.find_spec("aiobotocore") is None:
        raise StoreUnavailable('storage.kind is "s3", which needs the extra s3: pip install "tusd-py[s3]"')
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
