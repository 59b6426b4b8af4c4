"""Makes the store that the settings name: files on disk, or objects in a bucket."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tusd_py.contracts.download_urls import DownloadUrls
from tusd_py.contracts.locker import Locker
from tusd_py.contracts.store import Store, StoreError, StoreUnavailable
from tusd_py.publishing.names import candidates, published_name, with_random_suffix
from tusd_py.settings import Settings, without_credentials
from tusd_py.storage.disk.store import DiskStore
from tusd_py.storage.memory import MemoryStore

if TYPE_CHECKING:
    # Loaded only where S3 is used: the modules take a megabyte.
    from tusd_py.storage.s3.attributes import ObjectAttributes
    from tusd_py.storage.s3.client import BucketConfig, S3Client
    from tusd_py.storage.s3.layout import Keys
    from tusd_py.storage.s3.publisher import BucketPublisher

#: Storage in memory is for trials; more than this is refused as a full store.
_MEMORY_BYTES_MAX = 1024**3
#: S3 is asked several times, with delays between: a shorter time would report a refused connection as no answer.
_PROBE_SECONDS = 10.0
#: The clean-up and the end of the event loop after it, and the look-up of the host name, which nothing cancels.
_CLOSE_SECONDS = 5.0


def make_store(settings: Settings) -> Store:
    """The store for the bytes of uploads. It does no I/O before its first use.

    Raises ``StoreUnavailable`` if the package for S3 is not installed.
    """
    if settings.storage.kind == "memory":
        return MemoryStore(bytes_max=_MEMORY_BYTES_MAX)
    if settings.storage.kind == "disk":
        return DiskStore(Path(settings.storage.data_dir) / "uploads", file_mode=int(settings.storage.file_mode, 8))
    from tusd_py.storage.s3.store import S3Store

    s3 = settings.s3
    return S3Store(
        _bucket_config(settings),
        keys=_keys(settings),
        attributes=_attributes(settings),
        part_bytes=s3.part_bytes,
        part_bytes_max=s3.part_bytes_max,
        memory_bytes=s3.memory_bytes,
        parallel_parts=s3.parallel_parts,
        settled={
            name: value == "yes"
            for name, value in (("copies_parts", s3.copy_parts), ("is_exclusive", s3.conditional_writes))
            if value != "auto"
        },
    )


def make_bucket_publisher(settings: Settings, store: Store, locker: Locker) -> BucketPublisher:
    """The publisher for a target in S3. The store is one in S3, too."""
    from tusd_py.storage.s3.client import S3Client
    from tusd_py.storage.s3.publisher import BucketPublisher
    from tusd_py.storage.s3.store import S3Store

    assert isinstance(store, S3Store) and settings.publishing.bucket, "the settings were checked"
    bucket, prefix = settings.publishing.bucket
    return BucketPublisher(
        source=store.client,
        target=S3Client(replace(_bucket_config(settings), bucket=bucket)),
        keys=_keys(settings),
        attributes=_attributes(settings),
        prefix=prefix,
        name=lambda upload: published_name(settings.publishing.pattern, upload),
        candidates=candidates,
        suffixed=with_random_suffix,
        locker=locker,
        capabilities=store.capabilities.find,
    )


def make_download_urls(settings: Settings, store: Store) -> DownloadUrls | None:
    """The signer of URLs for downloads from the bucket; ``None`` if downloads pass through the server."""
    s3 = settings.s3
    if settings.storage.kind != "s3" or s3.download != "redirect":
        return None
    from tusd_py.storage.s3.client import S3Client
    from tusd_py.storage.s3.presign import PresignedDownloads

    bucket_config = _bucket_config(settings)
    # The host is a part of what is signed, so it has to be the one that clients use.
    bucket_config = replace(bucket_config, endpoint_url=s3.public_endpoint_url or bucket_config.endpoint_url)
    return PresignedDownloads(
        client=S3Client(bucket_config),
        locate=store.location,
        seconds=s3.download_seconds,
        inline_types=frozenset(settings.uploads.inline_types),
    )


def make_s3_client(settings: Settings, bucket: str, endpoint_url: str) -> S3Client:
    """A client for another bucket: at the endpoint of the settings, or at another one with the usual keys of AWS.

    Raises ``StoreUnavailable`` if the package for S3 is not installed.
    """
    from tusd_py.storage.s3.client import BucketConfig, S3Client

    bucket_config = replace(_bucket_config(settings), bucket=bucket)
    if endpoint_url:
        url = endpoint_url if "://" in endpoint_url else f"https://{endpoint_url}"
        bucket_config = BucketConfig(bucket=bucket, endpoint_url=url, region=settings.s3.region)
    return S3Client(bucket_config)


def removes_unknown_objects(settings: Settings, bucket: str, prefix: str) -> bool:
    """Whether the store of the settings takes objects of ``bucket`` below ``prefix`` for its own."""
    if settings.storage.kind != "s3" or settings.s3.bucket != bucket:
        return False
    keys = _keys(settings)
    return any(prefix.startswith(own) for own in (*keys.all_objects, keys.all_tails))


def _bucket_config(settings: Settings) -> BucketConfig:
    from tusd_py.storage.s3.client import BucketConfig

    if any(importlib.util.find_spec(name) is None for name in ("aiobotocore", "awscrt")):
        raise StoreUnavailable('S3 needs the extra s3: pip install "tusd-py[s3]"')
    s3 = settings.s3
    return BucketConfig(
        bucket=s3.bucket,
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
        timeout_seconds=s3.timeout_seconds,
    )


def _keys(settings: Settings) -> Keys:
    from tusd_py.storage.s3.layout import Keys

    return Keys(settings.s3.prefix, settings.s3.key_pattern, published_name)


def _attributes(settings: Settings) -> ObjectAttributes:
    from tusd_py.storage.s3.attributes import ObjectAttributes

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
        return _no_answer()
    except StoreError as error:
        return str(error)
    return ""


async def shortcomings(store: Store) -> list[str]:
    """A sentence for each function that the service lacks. Takes a bounded time. Raises ``StoreError``."""
    if isinstance(store, DiskStore | MemoryStore):
        return []
    from tusd_py.storage.s3.store import S3Store

    if not isinstance(store, S3Store):
        return []
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return list((await store.capabilities.find()).shortcomings())
    except TimeoutError:
        raise StoreUnavailable(_no_answer()) from None


def try_store(settings: Settings) -> tuple[str, list[str]]:
    """``store_failure`` and ``shortcomings`` for the store of the settings. Blocks; raises like ``make_store``."""
    store = make_store(settings)
    lacking: list[str] = []

    async def attempt() -> str:
        try:
            failure = await store_failure(store)
            if not failure:
                lacking.extend(await shortcomings(store))
            return failure
        finally:
            await store.close()

    return _failure_of(attempt, 2 * _PROBE_SECONDS + _CLOSE_SECONDS), lacking


def try_bucket_publishing(settings: Settings) -> str:
    """Why nothing can be published in the bucket of the settings; empty if it can. Blocks for a bounded time."""
    from tusd_py.storage.s3.client import S3Client

    assert settings.publishing.bucket is not None, "the settings name one"
    bucket, prefix = settings.publishing.bucket
    client = S3Client(replace(_bucket_config(settings), bucket=bucket))
    # The same each time: the next check removes what a killed one has left.
    key = f"{prefix}.tusd-py-check"

    async def attempt() -> str:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await client.call("put_object", Key=key, Body=b"", **_attributes(settings).of_bytes())
                await client.call("delete_object", Key=key)
        except TimeoutError:
            return _no_answer()
        finally:
            await client.close()
        return ""

    return _failure_of(attempt, _PROBE_SECONDS + _CLOSE_SECONDS)


def _failure_of(attempt: Callable[[], Coroutine[Any, Any, str]], seconds: float) -> str:
    """The failure that ``attempt`` returns or raises, on an event loop of its own, within ``seconds``."""
    failures = [_no_answer()]

    def run() -> None:
        try:
            failures[0] = asyncio.run(attempt())
        except StoreError as error:
            failures[0] = str(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return failures[0]


def _no_answer() -> str:
    return f"no answer within {_PROBE_SECONDS:g} seconds"


def describe_bucket(settings: Settings) -> str:
    """The bucket and where it is, for the operator, without passwords."""
    where = without_credentials(settings.s3.endpoint_url) or "AWS"
    return f"the bucket {settings.s3.bucket} at {where}"
