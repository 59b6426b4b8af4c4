"""Renames a file without replacing another one."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# The kernel, the file system or a container's filter of system calls does not know the call or its flag.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


def rename_exclusively(source: Path, target: Path) -> bool:
    """Rename ``source`` to ``target`` unless something has that name; return whether it was renamed.

    Where the system cannot do both in one step, the name is reserved by an empty file, which other programs may see for
    an instant; after a crash just then, it remains, and ``source`` too.
    """
    try:
        if _rename_noreplace(source, target):
            return True
    except FileExistsError:
        return False
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    try:
        os.rename(source, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def can_rename_exclusively(source: Path, target: Path) -> bool:
    """Rename ``source`` to ``target`` in one step that never replaces a file; return whether the system can do so."""
    return _rename_noreplace(source, target)


def _rename_noreplace(source: Path, target: Path) -> bool:
    """Whether the system has renamed the file; ``False`` if it cannot do so without replacing. Raises ``OSError``."""
    function = getattr(_libc, "renameat2", None)  # glibc 2.28; other systems have other functions, or none
    if function is None:
        return False
    arguments = _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    if function(*arguments) == 0:
        return True
    error = ctypes.get_errno()
    if error in _UNSUPPORTED:
        return False
    raise OSError(error, os.strerror(error), str(target))


_libc = ctypes.CDLL(None, use_errno=True)
