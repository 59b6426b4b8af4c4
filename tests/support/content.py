"""Bytes to upload: reproducible from a seed, cheap, and different at every offset of every upload."""

from __future__ import annotations

import hashlib
import random
from functools import cache

MIB = 1024 * 1024
_BLOCK_BYTES = 64 * MIB


@cache
def _block() -> memoryview:
    """One random block per process; slices of a memoryview are not copied."""
    return memoryview(random.Random(20260711).randbytes(_BLOCK_BYTES + MIB))


def content(seed: int, length: int) -> memoryview:
    """``length`` bytes, at most 64 MiB, that differ at every offset from those of every other ``seed`` below 1,000."""
    if length > _BLOCK_BYTES:
        raise ValueError(f"at most {_BLOCK_BYTES} bytes, not {length}")
    start = seed % 1000 * 1031
    return _block()[start : start + length]


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def common_prefix(left: bytes | memoryview, right: bytes | memoryview) -> int:
    """The length of the common prefix of ``left`` and ``right``."""
    low, high = 0, min(len(left), len(right))
    left, right = bytes(left[:high]), bytes(right[:high])  # bytes are compared by memcmp, memoryviews are not
    if left == right:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
