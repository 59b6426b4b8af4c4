"""The digests that a client says its whole upload has, in any of the forms in use, and those that it really has."""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tusd_py.protocol.draft.digests import parse_digest
from tusd_py.protocol.draft.representation import REPR_DIGEST
from tusd_py.protocol.errors import InvalidChecksum

#: The digest that is computed of every upload that is examined.
DEFAULT_ALGORITHM = "sha256"
_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_BY_SIZE = {size: name for name, size in _SIZES.items()}
_NAMED = re.compile(r"(md5|sha-?1|sha-?256|sha-?512)\s*[:= -]\s*(\S+)", re.IGNORECASE)
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """A digest that the upload shall have; ``key`` is that of the metadata which says so. None was not understood."""

    key: str
    algorithm: str
    digest: bytes | None


def expected_digests(metadata: Mapping[str, bytes], keys: Sequence[str]) -> list[ExpectedDigest]:
    """Every digest that ``metadata`` claims: under ``keys``, and that of a request in the draft."""
    found = []
    for key in keys:
        if key != REPR_DIGEST and (value := metadata.get(key, b"").decode("latin-1").strip()):
            algorithm, digest = _parse(key, value)
            found.append(ExpectedDigest(key, algorithm, digest))
    field = metadata.get(REPR_DIGEST)
    if field:
        try:
            checksum = parse_digest("Repr-Digest", field.decode("latin-1"))
        except InvalidChecksum:
            found.append(ExpectedDigest(REPR_DIGEST, DEFAULT_ALGORITHM, None))
        else:
            # RFC 9530, 2: "A recipient MAY ignore any or all digests": those of algorithms that nobody knows here.
            if checksum is not None:
                found.append(ExpectedDigest(REPR_DIGEST, checksum.algorithm, checksum.digest))
    return found


def _parse(key: str, value: str) -> tuple[str, bytes | None]:
    """The algorithm and the digest: named before it (``sha256:...``) or by the key, else told by the length."""
    named = _NAMED.fullmatch(value)
    name = (named[1] if named else key).lower().replace("-", "").replace("_", "")
    wanted = _SIZES.get(name)
    for digest in _readings(named[2] if named else value):
        if len(digest) == (wanted or len(digest)) and len(digest) in _BY_SIZE:
            return _BY_SIZE[len(digest)], digest
    return (name if wanted else DEFAULT_ALGORITHM), None


def _readings(text: str) -> Iterator[bytes]:
    """What ``text`` may mean. Hexadecimal first: it could be read as base64 too, but then of a length nobody has."""
    if _HEX.fullmatch(text):
        yield bytes.fromhex(text)
    try:
        yield b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True
        )
    except (binascii.Error, ValueError):
        return


class DigestCheck:
    """Running digests of one upload, by every algorithm that somebody asks for. Blocks while it computes."""

    def __init__(self, wanted: Sequence[ExpectedDigest]) -> None:
        names = {DEFAULT_ALGORITHM, *(item.algorithm for item in wanted)}
        self._running = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(names)}
        self._wanted = wanted

    def update(self, piece: bytes) -> None:
        for digest in self._running.values():
            digest.update(piece)

    def hex_digests(self) -> dict[str, str]:
        """Each digest in hexadecimal, by its algorithm."""
        return {name: digest.hexdigest() for name, digest in self._running.items()}

    def violations(self) -> Iterator[str]:
        """What speaks against the upload."""
        for item in self._wanted:
            if item.digest is None:
                yield f"the metadata {item.key} is no digest: send it in hexadecimal or base64"
            elif self._running[item.algorithm].digest() != item.digest:
                yield f"its bytes do not have the {item.algorithm} that the metadata {item.key} says"
