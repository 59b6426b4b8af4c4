"""How many files and sockets this process may have open: as many as it is allowed to ask for."""

from __future__ import annotations

import logging
import sys

_log = logging.getLogger("tusd_py.serving")
#: Asked for where there is no limit: what Linux gives at most unless told otherwise (``/proc/sys/fs/nr_open``).
_PLENTY = 1024 * 1024


def raise_limit() -> int:
    """Raise the limit to its hard one and return it; 0 where the platform has none. Child processes inherit it.

    The usual 1024 is for programs that call select(2). Here every connection takes one, and for a moment another.
    """
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _PLENTY if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        # macOS says "no limit", and means one of its own.
        _log.info("the limit of open files stays", extra={"open_files": soft, "reason": str(error)})
        return soft
    return wanted
