"""The Checksum extension: parsing ``Upload-Checksum`` and computing digests over a body as it arrives."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

from tusd_py.protocol.errors import InvalidChecksum, UnsupportedAlgorithm
from tusd_py.protocol.headers import parse_base64


@dataclass(frozen=True, slots=True)
class Checksum:
    """A parsed ``Upload-Checksum`` header: the algorithm and the raw digest of the request's body."""

    algorithm: str
    digest: bytes


class Digest(Protocol):
    """An incremental digest. ``update`` with many bytes releases the GIL."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32 as in zlib and PNG; the digest is four bytes, most significant first."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# usedforsecurity=False because sha1 and md5 only detect transfer errors here; FIPS builds of OpenSSL refuse them
# otherwise.
_DIGESTS: Mapping[str, Callable[[], Digest]] = MappingProxyType(
    {
        "sha1": partial(hashlib.sha1, usedforsecurity=False),
        "sha256": hashlib.sha256,
        "sha512": hashlib.sha512,
        "md5": partial(hashlib.md5, usedforsecurity=False),
        "crc32": Crc32,
    }
)
_DIGEST_BYTES: Mapping[str, int] = MappingProxyType({"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32": 4})

#: Checksum: "The Server MUST support at least the SHA1 checksum algorithm identified by `sha1`".
ALGORITHMS: tuple[str, ...] = tuple(_DIGESTS)

# "The names of the checksum algorithms MUST only consist of ASCII characters with the modification that uppercase
# characters are excluded."
_NAME = re.compile(r"[!-@\[-~]+")


def parse_checksum(header: str, algorithms: tuple[str, ...] = ALGORITHMS) -> Checksum:
    """Parse the header. Raises ``InvalidChecksum`` or ``UnsupportedAlgorithm``."""
    algorithm, space, encoded = header.partition(" ")
    if not space or _NAME.fullmatch(algorithm) is None:
        raise InvalidChecksum("Upload-Checksum", "an algorithm in lower case, one space and the digest in base64")
    if algorithm not in algorithms:
        raise UnsupportedAlgorithm(algorithms)
    digest = parse_base64(encoded)
    if digest is None or len(digest) != _DIGEST_BYTES[algorithm]:
        raise InvalidChecksum("Upload-Checksum", f"{_DIGEST_BYTES[algorithm]} bytes in padded base64 after {algorithm}")
    return Checksum(algorithm, digest)


def trailing_checksum(trailers: Sequence[tuple[bytes, bytes]]) -> Checksum:
    """Parse the trailer that ``Trailer: Upload-Checksum`` announced.

    Raises ``InvalidChecksum``, also when the trailer is missing or repeated, or ``UnsupportedAlgorithm``.
    """
    values = [value for name, value in trailers if name == b"upload-checksum"]
    if len(values) != 1:
        raise InvalidChecksum("Upload-Checksum", "one trailer after the body, as the Trailer header announced")
    return parse_checksum(values[0].decode("latin-1").strip(" \t"))


def new_digest(algorithm: str) -> Digest:
    """A new digest; ``algorithm`` must be one of ``ALGORITHMS``."""
    return _DIGESTS[algorithm]()
