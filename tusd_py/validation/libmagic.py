"""Detects the type of bytes with libmagic: the system's library if there is one, else that of pylibmagic."""

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
from tusd_py.validation.xml_root import type_by_root

if TYPE_CHECKING:
    from magic import Magic

#: The first bytes that are inspected. File names inside zipped documents come later than any signature.
HEAD_BYTES = 64 * 1024

# XML that libmagic does not recognise further.
_MAYBE_XML = frozenset({"text/plain", "text/xml", "application/xml"})
_SYSTEM = ("libmagic.dylib",) if sys.platform == "darwin" else ("libmagic.so.1",)
_BUNDLED = "libmagic.dylib" if sys.platform == "darwin" else "libmagic.so.1"
_MISSING = (
    "the type of an upload cannot be detected because libmagic is missing; "
    "install it (Debian: apt-get install libmagic1), or pylibmagic from PyPI"
)

_loading = threading.Lock()
_thread_local = threading.local()  # a Magic object may be used by one thread only


@dataclass(frozen=True, slots=True)
class Libmagic:
    """The loaded library with the path of its database; ``None`` is the library's default."""

    database: str | None


def load(system: Sequence[str] = _SYSTEM) -> Libmagic:
    """Load libmagic. This must happen before ``magic`` is imported, which looks for the system's library only.

    The system's library is preferred because it is the newer one. pylibmagic is located but never imported: it changes
    the environment and ctypes for the whole process. Raises ``ValidatorUnavailable``.
    """
    for name in system:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return Libmagic(None)
    spec = importlib.util.find_spec("pylibmagic")
    for directory in (spec.submodule_search_locations or ()) if spec is not None else ():
        library, database = Path(directory, _BUNDLED), Path(directory, "magic.mgc")
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        # The database format changes with the version, so the system's database cannot be used.
        return Libmagic(str(database))
    raise ValidatorUnavailable(_MISSING)


_loaded: Libmagic | None = None


def detect_type(head: bytes) -> str:
    """The media type, in lower case, of content that begins with ``head``. Blocks; may be called in any thread.

    Raises ``ValidatorUnavailable`` if libmagic is missing or cannot read its database.
    """
    head = head[:HEAD_BYTES]
    detected: str = _magic().from_buffer(head).lower()
    return (type_by_root(head) if detected in _MAYBE_XML else None) or detected


def _magic() -> Magic:
    existing: Magic | None = getattr(_thread_local, "magic", None)
    if existing is not None:
        return existing
    global _loaded
    with _loading:
        # Only success is cached: a missing library may be installed later.
        _loaded = _loaded or load()
        try:
            import magic
        except ImportError as error:
            raise ValidatorUnavailable(_MISSING) from error
    try:
        magic_object = magic.Magic(mime=True, magic_file=_loaded.database)
    except magic.MagicException as error:
        raise ValidatorUnavailable(f"libmagic cannot read its database: {error}") from error
    _thread_local.magic = magic_object
    return magic_object
