"""The Checksum extension: its header, and digests over a body as it comes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checksum:
    """What an ``Upload-Checksum`` header says: the algorithm's name and the raw digest of the request's body."""

    algorithm: str
    digest: bytes
