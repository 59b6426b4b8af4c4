"""Starts a real S3 server for tests: that of ``TUSD_PY_TEST_S3``, or versitygw.

``TUSD_PY_TEST_S3`` is the name of one of ``KINDS``, which is started, or the URL of a server that runs and has no
bucket: ``http://ACCESS_KEY:SECRET_KEY@127.0.0.1:9000``. Its buckets are deleted at the end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.s3_services import ACCESS_KEY, SECRET_KEY, RadosGateway, S3Service, SeaweedFS, Versitygw
from tusd_py.storage.s3.checksums import FIELD
from tusd_py.storage.s3.client import BucketConfig

_START_SECONDS = 120.0
_REGION = "us-east-1"
VERSITYGW, SEAWEEDFS, RGW = "versitygw", "seaweedfs", "rgw"
KINDS: dict[str, type[S3Service]] = {VERSITYGW: Versitygw, SEAWEEDFS: SeaweedFS, RGW: RadosGateway}
_CHOSEN = os.environ.get("TUSD_PY_TEST_S3", "")
#: For tests that run on each kind, unless one is chosen: parameters of a fixture.
EVERY_KIND = [_CHOSEN] if _CHOSEN else [*KINDS]


class S3Server:
    """A server that answers. It can be stopped and started again with the same address and objects."""

    def __init__(self, url: str, kind: str, service: S3Service | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.url = f"{parts.scheme}://{parts.hostname}:{self.port}"
        self.access_key = unquote(parts.username or ACCESS_KEY)
        self.secret_key = unquote(parts.password or SECRET_KEY)
        self.kind = kind
        self._service = service

    @property
    def directory(self) -> Path:
        """Where the service keeps its objects."""
        return self._needed().objects

    @property
    def process_id(self) -> int:
        """That of the process that answers."""
        return self._needed().process_id

    @property
    def access_log(self) -> Path:
        """A line for each request, of versitygw with ``logs_requests``."""
        return self._needed().directory / "access.log"

    def account(self, bucket: str) -> BucketConfig:
        return BucketConfig(
            bucket=bucket,
            endpoint_url=self.url,
            region=_REGION,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def settings(self, bucket: str, **more: str) -> dict[str, str]:
        """The settings of a tusd-py that keeps its bytes in ``bucket``, with the smallest parts that S3 takes."""
        return {
            "STORAGE__KIND": "s3",
            "S3__BUCKET": bucket,
            "S3__ENDPOINT_URL": self.url,
            "S3__REGION": _REGION,
            "S3__ACCESS_KEY": self.access_key,
            "S3__SECRET_KEY": self.secret_key,
            "S3__PART_BYTES": "5MiB",
            **more,
        }

    def client(self) -> Any:
        """A client that blocks, for tests that look at the objects themselves."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name=_REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def knows_checksums(self, bucket: str) -> bool:
        """Whether it verifies and keeps the CRC-64/NVME of what it is sent (docs/s3.md)."""
        client = self.client()
        stored = client.put_object(Bucket=bucket, Key="probe", Body=b"", ChecksumAlgorithm="CRC64NVME")
        client.delete_object(Bucket=bucket, Key="probe")
        return FIELD in stored

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._needed().start()
        self._until_answered(lambda client: client.list_buckets())

    def stop(self) -> None:
        """Kill it. A server that runs elsewhere cannot be stopped: then the test is skipped."""
        self._needed().stop()

    def until_writable(self) -> None:
        """Wait until an object can be written: some services answer before."""
        client = self.client()
        client.create_bucket(Bucket="first")
        self._until_answered(lambda client: client.put_object(Bucket="first", Key="first", Body=b""))
        _delete(client, "first")

    def _until_answered(self, ask: Any) -> None:
        client = self.client()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                ask(client)
                return
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, f"{self.kind} does not answer"
                time.sleep(0.05)

    def _needed(self) -> S3Service:
        if self._service is None:
            pytest.skip("the server that TUSD_PY_TEST_S3 names cannot be stopped")
        return self._service


@contextmanager
def running_s3(kind: str = "", *, logs_requests: bool = False, keeps_alive: bool = False) -> Iterator[S3Server]:
    """Start an empty server of this kind, by default the one of ``TUSD_PY_TEST_S3``.

    With ``logs_requests``, and with ``keeps_alive``, which leaves connections open after a request, it is versitygw.
    """
    kind = VERSITYGW if logs_requests or keeps_alive else kind or _CHOSEN or VERSITYGW
    if "://" in kind:
        with _running_elsewhere(kind) as server:
            yield server
        return
    assert kind in KINDS, f"TUSD_PY_TEST_S3 is none of {', '.join(KINDS)}, and no URL: {kind}"
    with tempfile.TemporaryDirectory(
        prefix="s3-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None, ignore_cleanup_errors=True
    ) as directory:
        service = (
            Versitygw(Path(directory), logs_requests=logs_requests, keeps_alive=keeps_alive)
            if kind == VERSITYGW
            else KINDS[kind](Path(directory))
        )
        server = S3Server(service.url, kind, service)
        try:
            server.start()
            server.until_writable()
            yield server
        finally:
            service.close()


@contextmanager
def _running_elsewhere(url: str) -> Iterator[S3Server]:
    server = S3Server(url, "the server of TUSD_PY_TEST_S3")
    client = server.client()
    found = client.list_buckets()["Buckets"]
    assert not found, "the server of TUSD_PY_TEST_S3 has buckets; tests need one without, and run one at a time (-n 0)"
    try:
        yield server
    finally:
        for bucket in client.list_buckets()["Buckets"]:
            _delete(client, bucket["Name"])


def _delete(client: Any, bucket: str) -> None:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=each["Key"])
    for begun in client.list_multipart_uploads(Bucket=bucket).get("Uploads") or ():
        client.abort_multipart_upload(Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"])
    client.delete_bucket(Bucket=bucket)
