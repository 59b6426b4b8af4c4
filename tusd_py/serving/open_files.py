"""Raises this process's limit of open files and sockets to the hard limit."""

from __future__ import annotations

import logging
import sys

_log = logging.getLogger("tusd_py.serving")
#: Requested if there is no hard limit: the default maximum of Linux (``/proc/sys/fs/nr_open``).
_UNLIMITED = 1024 * 1024


def raise_limit() -> int:
    """Raise the soft limit to the hard limit and return it; 0 on Windows, which has none. Child processes inherit it.

    The usual 1024 exists for programs that call select(2). Here every connection takes a descriptor, and during an
    upload a second one.
    """
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        # macOS reports no limit but enforces one.
        _log.info("could not raise the limit of open files", extra={"open_files": soft, "reason": str(error)})
        return soft
    return wanted
