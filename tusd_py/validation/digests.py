"""Compares the digests that a client declares for an upload, in any of the usual forms, with the real ones."""

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

#: Computed for every upload that is validated.
DEFAULT_ALGORITHM = "sha256"
_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_BY_SIZE = {size: name for name, size in _SIZES.items()}
#: The longest value that is parsed: a SHA-512 in hexadecimal has 128 characters, and a prefix names its algorithm.
_VALUE_CHARACTERS_MAX = 256
# The quantifiers are possessive (+): otherwise a long run of spaces takes quadratic time.
_NAMED = re.compile(r"(md5|sha-?1|sha-?256|sha-?512)(?:\s*+[:=-]\s*+|\s++)(\S+)", re.IGNORECASE)
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """A digest that the metadata ``key`` declares; ``None`` if its value is not a digest."""

    key: str
    algorithm: str
    digest: bytes | None


def expected_digests(metadata: Mapping[str, bytes], keys: Sequence[str]) -> list[ExpectedDigest]:
    """Every digest that ``metadata`` declares: under ``keys``, and the ``Repr-Digest`` of a draft client."""
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
            # RFC 9530, 2: "A recipient MAY ignore any or all digests": here those of unknown algorithms.
            if checksum is not None:
                found.append(ExpectedDigest(REPR_DIGEST, checksum.algorithm, checksum.digest))
    return found


def _parse(key: str, value: str) -> tuple[str, bytes | None]:
    """The algorithm and the digest. A prefix (``sha256:...``) or the key names the algorithm, else the length does."""
    named = _NAMED.fullmatch(value) if len(value) <= _VALUE_CHARACTERS_MAX else None
    name = (named[1] if named else key).lower().replace("-", "").replace("_", "")
    size = _SIZES.get(name)
    if len(value) > _VALUE_CHARACTERS_MAX:
        return (name if size else DEFAULT_ALGORITHM), None
    for digest in _decodings(named[2] if named else value):
        if len(digest) == (size or len(digest)) and len(digest) in _BY_SIZE:
            return _BY_SIZE[len(digest)], digest
    return (name if size else DEFAULT_ALGORITHM), None


def _decodings(text: str) -> Iterator[bytes]:
    """The bytes that ``text`` may encode. Hexadecimal comes first: as base64 its length would be no digest's."""
    if _HEX.fullmatch(text):
        yield bytes.fromhex(text)
    try:
        yield b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True
        )
    except (binascii.Error, ValueError):
        return


class DigestCheck:
    """The running digests of one upload, by every expected algorithm. ``update`` computes and blocks."""

    def __init__(self, expected: Sequence[ExpectedDigest]) -> None:
        names = {DEFAULT_ALGORITHM, *(item.algorithm for item in expected)}
        self._running = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(names)}
        self._expected = expected

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        for digest in self._running.values():
            digest.update(chunk)

    def hex_digests(self) -> dict[str, str]:
        """Each digest in hexadecimal by its algorithm."""
        return {name: digest.hexdigest() for name, digest in self._running.items()}

    def violations(self) -> Iterator[str]:
        """A sentence for each expected digest that is invalid or does not match."""
        for item in self._expected:
            if item.digest is None:
                yield f"the metadata {item.key} is not a digest; send it in hexadecimal or base64"
            elif self._running[item.algorithm].digest() != item.digest:
                yield f"its {item.algorithm} is not the one that the metadata {item.key} declares"
