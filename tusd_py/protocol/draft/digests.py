"""Digest fields (RFC 9530): ``Content-Digest`` over one request's body, ``Repr-Digest`` over the whole upload."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tusd_py.protocol.checksum import Checksum, new_digest
from tusd_py.protocol.draft.structured_fields import parse_dictionary
from tusd_py.protocol.errors import InvalidChecksum

#: RFC 9530, 7.2: the registered names, strongest first, with this server's names for the same algorithms.
ALGORITHMS: Mapping[str, str] = MappingProxyType(
    {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}
)


def parse_digest(name: str, header: str | None) -> Checksum | None:
    """The strongest supported digest in the field ``name``; None if there is none.

    RFC 9530, 2: "A recipient MAY ignore any or all digests." A field with invalid syntax is ignored.
    Raises ``InvalidChecksum`` for a digest of the wrong length.
    """
    members = parse_dictionary(header) if header is not None else None
    for key, algorithm in ALGORITHMS.items():
        value = members.get(key) if members is not None else None
        if isinstance(value, bytes):
            size = len(new_digest(algorithm).digest())
            if len(value) != size:
                raise InvalidChecksum(name, f"{size} bytes after {key}")
            return Checksum(algorithm, value)
    return None
