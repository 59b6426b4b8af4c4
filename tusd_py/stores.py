"""Makes the store that the settings name: files on disk, or objects in a bucket. A part of ``wiring``."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from dataclasses import replace
from pathlib import Path

from tusd_py.contracts.download_urls import DownloadUrls
from tusd_py.contracts.store import Store, StoreError, StoreUnavailable
from tusd_py.publishing.names import published_name
from tusd_py.settings import Settings, without_credentials
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore
from tusd_py.storage.s3.attributes import ObjectAttributes
from tusd_py.storage.s3.client import S3Account, S3Client
from tusd_py.storage.s3.layout import Keys
from tusd_py.storage.s3.presign import PresignedDownloads
from tusd_py.storage.s3.store import S3Store

#: Storage in memory is for trials; more than this is refused as a full store.
_MEMORY_BYTES_MAX = 1024**3
#: S3 is asked several times, with delays between: a shorter time would not tell a refused connection from silence.
_PROBE_SECONDS = 10.0
#: The end of the event loop after it, and the look-up of the host name, which nothing cancels.
_CLOSE_SECONDS = 2.0


def make_store(settings: Settings) -> Store:
    """The store for the bytes of uploads. It does no I/O before its first use.

    Raises ``StoreUnavailable`` if the package for S3 is not installed.
    """
    if settings.storage.kind == "memory":
        return MemoryStore(bytes_max=_MEMORY_BYTES_MAX)
    if settings.storage.kind == "disk":
        return DiskStore(Path(settings.storage.data_dir) / "uploads", file_mode=int(settings.storage.file_mode, 8))
    s3 = settings.s3
    return S3Store(
        _account(settings),
        keys=_keys(settings),
        attributes=_attributes(settings),
        part_bytes=s3.part_bytes,
        part_bytes_max=s3.part_bytes_max,
        memory_bytes=s3.memory_bytes,
        parallel_parts=s3.parallel_parts,
    )


def make_download_urls(settings: Settings, store: Store) -> DownloadUrls | None:
    """What makes URLs for downloads from the bucket itself; ``None`` if downloads pass through the server."""
    s3 = settings.s3
    if settings.storage.kind != "s3" or s3.download != "redirect":
        return None
    account = _account(settings)
    # The host is a part of what is signed, so it has to be the one that clients use.
    account = replace(account, endpoint_url=s3.public_endpoint_url or account.endpoint_url)
    return PresignedDownloads(
        client=S3Client(account),
        locate=store.location,
        seconds=s3.download_seconds,
        inline_types=frozenset(settings.uploads.inline_types),
    )


def make_s3_client(settings: Settings, bucket: str, endpoint_url: str) -> S3Client:
    """A client for another bucket: at the endpoint of the settings, or at another one with the usual keys of AWS.

    Raises ``StoreUnavailable`` if the package for S3 is not installed.
    """
    account = replace(_account(settings), bucket=bucket)
    if endpoint_url:
        url = endpoint_url if "://" in endpoint_url else f"https://{endpoint_url}"
        account = S3Account(bucket=bucket, endpoint_url=url, region=settings.s3.region)
    return S3Client(account)


def removes_unknown_objects(settings: Settings, bucket: str, prefix: str) -> bool:
    """Whether the store of the settings takes objects of ``bucket`` below ``prefix`` for its own."""
    if settings.storage.kind != "s3" or settings.s3.bucket != bucket:
        return False
    keys = _keys(settings)
    return any(prefix.startswith(own) for own in (*keys.all_objects, keys.all_tails))


def _account(settings: Settings) -> S3Account:
    if importlib.util.find_spec("aiobotocore") is None:
        raise StoreUnavailable('S3 needs the extra s3: pip install "tusd-py[s3]"')
    s3 = settings.s3
    return S3Account(
        bucket=s3.bucket,
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )


def _keys(settings: Settings) -> Keys:
    return Keys(settings.s3.prefix, settings.s3.key_pattern, published_name)


def _attributes(settings: Settings) -> ObjectAttributes:
    s3 = settings.s3
    return ObjectAttributes(
        storage_class=s3.storage_class,
        cache_control=s3.cache_control,
        content_type=s3.content_type,
        content_disposition=s3.content_disposition,
        inline_types=frozenset(settings.uploads.inline_types),
        tags=dict(tag.split("=", 1) for tag in s3.tags),
        expand=published_name,
        encryption=s3.encryption,
        kms_key_id=s3.kms_key_id,
        bucket_key=s3.bucket_key,
    )


async def store_failure(store: Store) -> str:
    """Why the store cannot be written to, found out as for ``/readyz``; empty if it can. Takes a bounded time."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await store.probe()
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} seconds"
    except StoreError as error:
        return str(error)
    return ""


def try_store(settings: Settings) -> str:
    """``store_failure`` for the store of the settings. Blocks; raises like ``make_store``."""
    store = make_store(settings)
    failures = [f"no answer within {_PROBE_SECONDS:g} seconds"]

    async def probe() -> None:
        try:
            failures[0] = await store_failure(store)
        finally:
            await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(probe()), daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS + _CLOSE_SECONDS)
    return failures[0]


def describe_bucket(settings: Settings) -> str:
    """The bucket and where it is, for the operator, without passwords."""
    where = without_credentials(settings.s3.endpoint_url) or "AWS"
    return f"the bucket {settings.s3.bucket} at {where}"
