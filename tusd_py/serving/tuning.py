"""Memory settings of the interpreter and its allocator, applied once when the process starts to serve."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

# glibc's mallopt(3). Blocks above the mmap threshold get a mapping of their own; above the trim threshold free memory
# at the end of the heap is returned to the system.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Bodies are read in pieces of 256 KiB. If each is mapped and unmapped, the kernel zeroes its pages every time: reusing
#: them made one large upload 7 % faster.
_KEPT_BYTES = 8 * 1024 * 1024
#: Requests leave few reference cycles behind. With the default threshold of 700 a fifth of each small request was spent
#: on garbage collection.
_GC_THRESHOLDS = (50_000, 20, 50)


def apply() -> None:
    """Apply the settings. Call it after all modules are loaded and before the first request."""
    # No collection before it: that takes 50 ms, and finds less than half a mebibyte.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    trim()
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def trim() -> None:
    """Return free memory to the system, also that between blocks in use: some MiB after the imports.

    Takes milliseconds, in which other threads that allocate wait.
    """
    malloc_trim = _libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _libc(name: str) -> Any:
    """A function of glibc. musl has none of those used here, or one without effect."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
