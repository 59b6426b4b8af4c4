"""How this process uses memory: settings of the interpreter and of its allocator, made once when it serves."""

from __future__ import annotations

import ctypes
import gc
import sys

# glibc's mallopt(3): above the first size a block is mapped for itself, above the second free memory is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: The pieces of a body have 256 KiB. Mapped and unmapped each time, their pages are zeroed by the kernel each time:
#: keeping them made one large upload 7 % faster.
_KEPT_BYTES = 8 * 1024 * 1024
#: What was loaded stays for ever and need not be looked through again; requests leave few cycles behind. The default
#: of 700 spends a fifth of each small request on looking for them.
_COLLECT_AFTER = (50_000, 20, 50)


def settle() -> None:
    """Call once everything is loaded and before the first request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    # Another C library (musl) has no mallopt, or one that does nothing; both are fine.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
