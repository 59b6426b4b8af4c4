"""Tells the type of bytes by libmagic: the system's where there is one, else the one that pylibmagic carries."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tusd_py.contracts.validator import ValidatorUnavailable

if TYPE_CHECKING:
    from magic import Magic

#: So many first bytes are looked at: the names in a zipped document stand further in than any signature.
HEAD_BYTES = 64 * 1024

_SYSTEM = ("libmagic.dylib",) if sys.platform == "darwin" else ("libmagic.so.1",)
_BUNDLED = "libmagic.dylib" if sys.platform == "darwin" else "libmagic.so.1"
_MISSING = (
    "the type of an upload cannot be told, for libmagic is missing: "
    "install it (Debian: apt-get install libmagic1), or pylibmagic from PyPI"
)

_loading = threading.Lock()
_own = threading.local()  # a Magic object may be used by one thread only


@dataclass(frozen=True, slots=True)
class Libmagic:
    """A library that is loaded, and the database that belongs to it; None is the library's own choice."""

    database: str | None


def load(system: Sequence[str] = _SYSTEM) -> Libmagic:
    """Have libmagic loaded before anything imports ``magic``, which would look for the system's alone.

    The system's is newer than the bundled one wherever both are. pylibmagic is found but never imported: it changes
    the environment and ctypes for the whole process. Raises ``ValidatorUnavailable``.
    """
    for name in system:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return Libmagic(None)
    spec = importlib.util.find_spec("pylibmagic")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        library, database = Path(folder, _BUNDLED), Path(folder, "magic.mgc")
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        # The format of the database changes with the version: the system's would not do.
        return Libmagic(str(database))
    raise ValidatorUnavailable(_MISSING)


_found: Libmagic | None = None


def detect_type(head: bytes) -> str:
    """The media type of bytes that begin with ``head``, in lower case. Blocks; for any thread.

    Raises ``ValidatorUnavailable`` where libmagic is missing or its database cannot be read.
    """
    told: str = _magic().from_buffer(head[:HEAD_BYTES])
    return told.lower()


def _magic() -> Magic:
    existing: Magic | None = getattr(_own, "magic", None)
    if existing is not None:
        return existing
    global _found
    with _loading:
        # What is missing may be installed later: only what was found is kept.
        _found = _found or load()
        try:
            import magic
        except ImportError as error:
            raise ValidatorUnavailable(_MISSING) from error
    try:
        made = magic.Magic(mime=True, magic_file=_found.database)
    except magic.MagicException as error:
        raise ValidatorUnavailable(f"libmagic cannot read its database: {error}") from error
    _own.magic = made
    return made
