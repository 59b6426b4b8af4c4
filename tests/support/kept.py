"""Reads stored and published bytes without the server: the files of a data directory, or the objects of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.content import sha256
from tests.support.stacks import in_bucket, shared_s3


class Kept(Protocol):
    """The stored and the published bytes of one test."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of servers that publish there."""
        ...

    def stored(self) -> list[str]:
        """The id of the upload of everything that is stored, sorted; twice if there are two things of one."""
        ...

    def published(self) -> dict[str, str]:
        """The SHA-256 of what is published, by path."""
        ...


@dataclass(frozen=True)
class InFiles:
    """Files below ``data_dir``, published in ``target``."""

    data_dir: Path
    target: Path

    @property
    def settings(self) -> Mapping[str, str]:
        return {"PUBLISHING__DIRECTORY": str(self.target)}

    def stored(self) -> list[str]:
        # Not the mark by which the records know the directory again.
        paths = (path for path in (self.data_dir / "uploads").iterdir() if path.name != ".store")
        return sorted(path.name for path in paths if path.is_file())

    def published(self) -> dict[str, str]:
        paths = [path for path in self.target.rglob("*") if not path.is_dir()]
        return {str(path.relative_to(self.target)): sha256(path.read_bytes()) for path in paths}


@dataclass(frozen=True)
class InBuckets:
    """Objects, tails and multipart uploads in ``bucket``, published in a bucket beside it."""

    bucket: str
    client: Any

    @classmethod
    def beside(cls, bucket: str) -> InBuckets:
        """Make the bucket for what is published."""
        made = cls(bucket, shared_s3().client())
        in_bucket(shared_s3(), made._target)
        return made

    @property
    def settings(self) -> Mapping[str, str]:
        return {"PUBLISHING__DIRECTORY": f"s3://{self._target}/in"}

    def stored(self) -> list[str]:
        keys = [each["Key"] for each in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())]
        keys += [each["Key"] for each in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads") or ()]
        # "uploads/<id>.<suffix>", "tails/<id>/<name>", "publishing/<id>.publishing"
        # Not that by which a server finds out what S3 can do ("probe", "tails/probe..."): the ports of the test
        # itself may have just been closed in the middle of it.
        probes = ("probe", "tails/probe", "tusd-py.mark")
        return sorted(key.split("/")[1].partition(".")[0] for key in keys if not key.startswith(probes))

    def published(self) -> dict[str, str]:
        listed = self.client.list_objects_v2(Bucket=self._target).get("Contents", ())
        keys = [each["Key"] for each in listed if each["Key"] not in ("probe", "tusd-py.mark")]
        assert not self.client.list_multipart_uploads(Bucket=self._target).get("Uploads")
        return {key.removeprefix("in/"): sha256(self._read(key)) for key in keys}

    @property
    def _target(self) -> str:
        return f"{self.bucket}-published"

    def _read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self._target, Key=key)["Body"].read()
        return body
