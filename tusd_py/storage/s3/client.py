"""The S3 client of one event loop, and its failures in the words of the store's contract."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tusd_py.contracts.store import StoreError, StoreFull, StoreUnavailable
from tusd_py.pace import Pace
from tusd_py.storage.s3.part_transport import PartTransport, headers_of, tls_context
from tusd_py.storage.s3.refusals import describe, describe_failure, describe_local
from tusd_py.storage.verification import StoreVerification
from tusd_py.threads import cpu_threads, in_executor

log = logging.getLogger(__name__)

#: One read of a download.
READ_BYTES = 256 * 1024
_CONNECT_SECONDS = 10
#: With the delays between them, S3 may be away for some seconds before a client is answered 503.
_ATTEMPTS = 4
#: The library's delay before another attempt.
_DELAY_SECONDS_MAX = 20
#: A store that takes bytes more slowly than this is down.
_BYTES_PER_SECOND_MIN = 64 * 1024
#: Requests under way, beside parts and bodies of downloads. If a thousand saves are due at once, each would delay the
#: others until none is answered in time.
_CALLS_MAX = 64
#: Slow downloads keep their connections for long.
_CONNECTIONS_MAX = 1024
_PART_CONNECTIONS_MAX = 64
#: The signature of a part is valid for this long.
_PART_URL_SECONDS = 3600
#: Loading the library, and the credentials of a role from the service of the machine.
_OPEN_SECONDS = 60
#: The arguments that ask for the next page, and where each is in the page before.
_MARKERS: Mapping[str, Mapping[str, str]] = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
}

_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
#: Requests to a multipart upload. Ceph answers NoSuchKey if it has been completed.
_OF_MULTIPART = frozenset({"list_parts", "upload_part", "complete_multipart_upload", "abort_multipart_upload"})
_CHANGED = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody"})
#: Bad request and not implemented. A missing permission is 403.
_REFUSED = frozenset({400, 501})
_CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_FULL = frozenset({"QuotaExceeded", "ServiceQuotaExceededException", "XMinioStorageFull", "InsufficientStorage"})


class ObjectMissing(StoreUnavailable):
    """There is no object with this key."""


class MultipartMissing(StoreUnavailable):
    """There is no such multipart upload any more: it was completed or aborted."""


class PartsChanged(StoreUnavailable):
    """A part is not the recorded one: another process has sent it again with other bytes, or it is gone."""


class Refused(StoreUnavailable):
    """S3 does not accept the request as it is: it lacks a function, or does not know an argument."""


class Conflict(StoreUnavailable):
    """An object has the key that was to be given to a new one."""


class RangeMissing(StoreUnavailable):
    """The object is too short for the requested range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketConfig:
    """Where a bucket is, and the credentials for it.

    Without a key the usual places of AWS are searched (environment, role).
    """

    bucket: str
    endpoint_url: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    timeout_seconds: float = 30.0  # without an answer to one attempt


class S3Client:
    """Calls S3 operations by their names. It opens on first use and belongs to the event loop of that use."""

    def __init__(self, bucket_config: BucketConfig) -> None:
        self.bucket = bucket_config.bucket
        #: Whether S3 verifies the CRC of parts and objects. ``None`` before the first object.
        self.has_checksums: bool | None = None
        #: Whether S3 can copy parts; set to false once it has refused to.
        self.copies_parts = True
        #: Passed before the first operation, if there is one.
        self.verification: StoreVerification | None = None
        #: Limits the requests of ``call``.
        self.pace: Pace | None = None
        self._bucket_config = bucket_config
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._calls = asyncio.Semaphore(_CALLS_MAX)
        self._client: Any = None
        self._parts: PartTransport | None = None

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Return the response of ``operation`` on the bucket.

        Raises one of the classes above, ``StoreFull`` or ``StoreUnavailable``.
        """
        if self.verification is not None and not self.verification.is_passed:
            await self.verification.run()
        return await self.call_unverified(operation, **arguments)

    async def call_unverified(self, operation: str, **arguments: Any) -> Any:
        """``call``, without waiting for the verification of the bucket."""
        if self.pace is not None:
            await self.pace.take()
        client = await self._opened()
        from aiohttp import ClientError as TransportError
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        # With the attempts of the library.
        longest = self._longest(_size(arguments.get("Body", b"")))
        deadline = asyncio.get_running_loop().time() + _ATTEMPTS * (longest + _DELAY_SECONDS_MAX)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._calls, asyncio.timeout_at(deadline):
                    return await getattr(client, operation)(Bucket=self.bucket, **arguments)
            except TimeoutError as error:
                failure: Exception = error
                break
            except ClientError as error:
                if not _has_changed(error.response) or attempt == _ATTEMPTS:
                    raise _translated(error.response, operation, self.bucket) from None
                await _pause(attempt)
            except (BotoCoreError, ResponseParserError) as error:
                failure = error
                break
            except (TransportError, OSError) as error:
                # An answer that ends in its middle. The library repeats other failures by itself.
                failure = error
                if attempt < _ATTEMPTS:
                    await _pause(attempt)
        raise StoreUnavailable(describe_failure(failure, _host(client))) from None

    def _longest(self, count: int) -> float:
        """After how many seconds an attempt with ``count`` bytes is given up. Libraries bound only waits for answers.

        A store that takes no bytes any more would hold up the upload, with its lock, until the system gives up the
        connection.
        """
        return _CONNECT_SECONDS + self._bucket_config.timeout_seconds + count / _BYTES_PER_SECOND_MIN

    async def send_part(
        self,
        key: str,
        multipart_id: str,
        number: int,
        pieces: Sequence[bytes | memoryview],
        checksum: Mapping[str, str],
    ) -> str:
        """Send one part; return its ETag. ``checksum`` is an argument of UploadPart. Raises like ``call``."""
        arguments = {"Key": key, "UploadId": multipart_id, "PartNumber": number, **checksum}
        return await self._send("upload_part", pieces, arguments)

    async def send_object(self, key: str, pieces: Sequence[bytes | memoryview], **arguments: Any) -> None:
        """PutObject with a large body, without the copies that the library makes. Raises like ``call``."""
        await self._send("put_object", pieces, {"Key": key, **arguments})

    async def _send(self, operation: str, pieces: Sequence[bytes | memoryview], arguments: Mapping[str, Any]) -> str:
        """Send ``pieces`` as the body of ``operation``; return the ETag."""
        from aiohttp import ClientError as TransportError

        for attempt in range(1, _ATTEMPTS + 1):
            url = await self.presigned_url(operation, _PART_URL_SECONDS, **arguments)
            assert self._parts is not None, "the client is open"
            headers = headers_of(self._client, operation, arguments)
            try:
                async with asyncio.timeout(self._longest(sum(map(len, pieces)))):
                    answer = await self._parts.put(url, pieces, headers)
            except (TransportError, OSError, TimeoutError) as error:
                failure: StoreError = StoreUnavailable(describe_failure(error, _host(self._client)))
            else:
                if answer.etag:
                    return answer.etag
                failure = _translated(answer.response(), operation, self.bucket)
                if not answer.may_be_repeated and not _has_changed(answer.response()):
                    raise failure
            if attempt < _ATTEMPTS:
                await _pause(attempt)
        raise failure

    async def presigned_url(self, operation: str, seconds: int, **arguments: Any) -> str:
        """The URL with which ``operation`` can be called without credentials for ``seconds``. Does no request."""
        if self.verification is not None and not self.verification.is_passed:
            await self.verification.run()
        client = await self._opened()
        try:
            # Credentials of a role may have to be renewed first.
            async with asyncio.timeout(_OPEN_SECONDS):
                url: str = await client.generate_presigned_url(
                    operation, Params={"Bucket": self.bucket, **arguments}, ExpiresIn=seconds
                )
        except Exception as error:
            raise StoreUnavailable(f"no URL could be signed for S3: {type(error).__name__}") from error
        return url

    async def pages(self, operation: str, **arguments: Any) -> AsyncIterator[Any]:
        """The pages of a listing. Raises like ``call``, also if a page does not say what follows it.

        The caller may remove what it is given: the next page is asked for before, because some services do not find
        their place behind an entry that is gone.
        """
        marker: dict[str, Any] = {}
        page = await self.call(operation, **arguments)
        while page.get("IsTruncated"):
            before = marker
            marker = {name: page[source] for name, source in _MARKERS[operation].items() if page.get(source)}
            # A listing that never ends would hold up its caller for ever.
            if not marker or marker == before:
                raise StoreUnavailable(f"S3 lists the same page of {operation} again and again")
            following = await self._page_behind(page, operation, marker, arguments)
            yield page
            page = following
        yield page

    async def _page_behind(
        self, page: Any, operation: str, marker: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> Any:
        try:
            return await self.call(operation, **arguments, **marker)
        except Refused:
            if "UploadIdMarker" not in marker:
                raise
        # versitygw 1.8 finds its place behind a key, but not behind a multipart upload. A key rarely has several.
        key = marker["KeyMarker"]
        following = await self.call(operation, **arguments, KeyMarker=key)
        same = (await self.call(operation, **{**arguments, "Prefix": key})).get("Uploads", ())
        listed = {each["UploadId"] for each in page.get("Uploads", ())}
        missed = [each for each in same if each["Key"] == key and each["UploadId"] not in listed]
        return {**following, "Uploads": [*missed, *following.get("Uploads", ())]}

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes of an object in pieces. Raises like ``call``, and ``RangeMissing``.

        A connection that ends in the middle is replaced, a few times without a new byte.
        """
        failed = 0
        while start < stop:
            response = await self.call("get_object", Key=key, Range=f"bytes={start}-{stop - 1}")
            body = response["Body"]
            try:
                while start < stop:
                    try:
                        piece = await _read_piece(body, min(READ_BYTES, stop - start))
                    except StoreUnavailable:
                        failed += 1
                        if failed == _ATTEMPTS:
                            raise
                        break
                    if not piece:
                        raise RangeMissing("the object is shorter than recorded")
                    start += len(piece)
                    failed = 0
                    yield piece
            finally:
                body.close()
            if failed:
                await _pause(failed)

    async def read_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes of an object from ``start`` up to, not including, ``stop``, in bounded time. Raises like ``read``.

        For a caller that holds a lock meanwhile: ``read`` goes on as long as S3 sends something.
        """
        try:
            async with asyncio.timeout(_ATTEMPTS * self._longest(stop - start)):
                return b"".join([piece async for piece in self.read(key, start, stop)])
        except TimeoutError:
            raise StoreUnavailable("S3 sends bytes too slowly") from None

    async def read_object(self, key: str, *, verified: bool = True) -> bytes:
        """The bytes of a small object. Raises like ``call``, or without ``verified`` like ``call_unverified``."""
        response = await (self.call if verified else self.call_unverified)("get_object", Key=key)
        async with response["Body"] as body:
            try:
                async with asyncio.timeout(self._longest(0)):
                    content: bytes = await body.read()
            except Exception as error:  # noqa: BLE001 - as in ``read``
                raise StoreUnavailable(f"S3 stopped sending: {type(error).__name__}") from None
        return content

    @property
    def checksum_mode(self) -> Mapping[str, str]:
        """The argument of HeadObject that asks for the CRC; stores without checksums may refuse it."""
        return {"ChecksumMode": "ENABLED"} if self.has_checksums else {}

    async def object_size(self, key: str) -> int | None:
        """The size of an object; ``None`` if there is none."""
        try:
            return int((await self.call("head_object", Key=key))["ContentLength"])
        except ObjectMissing:
            return None

    async def close(self) -> None:
        if self._parts is not None:
            await self._parts.close()
            self._parts = None
        if self.verification is not None:
            self.verification.cancel()
        await self._stack.aclose()
        self._client = None

    async def _opened(self) -> Any:
        """The client of the library. Raises ``StoreUnavailable``."""
        if self._client is None:
            try:
                async with asyncio.timeout(_OPEN_SECONDS), self._opening:
                    if self._client is None:
                        self._client = await self._open()
            except Exception as error:
                reason = describe_local(error) or f"there is no S3 client for these settings: {type(error).__name__}"
                raise StoreUnavailable(reason) from error
        return self._client

    async def _open(self) -> Any:
        # Importing it and reading its descriptions of S3 takes half a second, which the event loop must not wait for.
        session, tls = await in_executor(cpu_threads, _load)
        from aiobotocore.config import AioConfig
        from botocore.handlers import add_expect_header

        # The transport waits without a bound for the "100 Continue" of a store that does not answer.
        session.unregister("before-call.s3", add_expect_header)

        bucket_config = self._bucket_config
        config = AioConfig(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=bucket_config.timeout_seconds,
            max_pool_connections=_CONNECTIONS_MAX,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            # Without a name, URLs are signed with the older version, which most services refuse.
            signature_version="s3v4",
            # Hashing each part on the event loop would cost more than sending it; stores other than AWS often refuse
            # the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False, "addressing_style": "path" if bucket_config.endpoint_url else "auto"},
        )
        client = await self._stack.enter_async_context(
            session.create_client(
                "s3",
                endpoint_url=bucket_config.endpoint_url or None,
                region_name=bucket_config.region or None,
                aws_access_key_id=bucket_config.access_key or None,
                aws_secret_access_key=bucket_config.secret_key or None,
                config=config,
            )
        )
        # After all that may fail: the next call would make another one.
        self._parts = PartTransport(tls, _PART_CONNECTIONS_MAX, _CONNECT_SECONDS, bucket_config.timeout_seconds)
        return client


async def _read_piece(body: Any, count: int) -> bytes:
    try:
        piece: bytes = await body.read(count)
    except Exception as error:  # noqa: BLE001 - whatever the transport raises: the connection is unusable
        raise StoreUnavailable(f"S3 stopped sending: {type(error).__name__}") from None
    return piece


def _size(body: Any) -> int:
    """How many bytes a request sends: bytes, or something like a file."""
    if isinstance(body, bytes | bytearray):
        return len(body)
    position: int = body.tell()
    size: int = body.seek(0, os.SEEK_END)
    body.seek(position)
    return size - position


async def _pause(attempt: int) -> None:
    """The delay before another attempt: longer each time, and different for each request."""
    await asyncio.sleep(random.uniform(0, 2 ** (attempt - 1)))


def _host(client: Any) -> str:
    """Where the client connects to, without the credentials that a URL may contain."""
    return urlsplit(str(client.meta.endpoint_url)).netloc.rpartition("@")[2]


def _load() -> tuple[Any, ssl.SSLContext]:
    from aiobotocore.session import get_session

    session = get_session()
    loader = session.get_component("data_loader")
    for name in ("service-2", "paginators-1", "endpoint-rule-set-1"):
        loader.load_service_model("s3", name)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    return session, tls_context(session)


def _has_changed(response: Any) -> bool:
    """Whether S3 has received other bytes than were sent."""
    return str(response.get("Error", {}).get("Code", "")) in _CHANGED


def _translated(response: Any, operation: str, bucket: str) -> StoreError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # Only a response without a body has no code: to other requests than these, what is no S3 service answers so.
    if code == "NoSuchKey" and operation in _OF_MULTIPART:
        return MultipartMissing("the multipart upload has ended")
    if code in _MISSING and (code != "404" or operation in ("head_object", "get_object")):
        return ObjectMissing("there is no such object")
    if code == "NoSuchUpload":
        return MultipartMissing("the multipart upload has ended")
    if code in ("InvalidPart", "InvalidPartOrder"):
        return PartsChanged("S3 has not the part that was recorded")
    if code in _CONFLICTS:
        return Conflict("an object has this key already")
    if code == "InvalidRange":
        return RangeMissing("the object is shorter than recorded")
    if _has_changed(response):
        return StoreUnavailable(f"bytes have changed on their way to S3: {code}")
    if code in _FULL or status == 507:
        return StoreFull(f"S3 has no space left: {code}")
    failure = Refused if status in _REFUSED else StoreUnavailable
    return failure(describe(response, operation, bucket))
