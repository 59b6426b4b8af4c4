"""The data directory on this machine: its directories and their modes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tusd_py.model.upload import Upload
from tusd_py.settings import Settings
from tusd_py.storage.disk.mirror import mirror
from tusd_py.storage.disk.store import path_of

#: Only the server, and the group an administrator gives the directory, may look into it.
DATA_DIR_MODE = 0o750


def make_data_dir(settings: Settings) -> None:
    """Create the data directory if it is missing, accessible to its owner and group only. Raises ``OSError``."""
    if settings.storage.kind != "memory":
        Path(settings.storage.data_dir).mkdir(mode=DATA_DIR_MODE, parents=True, exist_ok=True)


def exposed_data(settings: Settings) -> list[str]:
    """A sentence for the operator for each existing directory and database that other users of the machine can read."""
    found = []
    data_dir = Path(settings.storage.data_dir)
    if settings.storage.kind != "memory" and (mode := _mode_of(data_dir)) & 0o007:
        found.append(f"other users can enter {data_dir} (mode {mode:04o}): chmod 0750 it")
    if settings.database_path is not None and (mode := _mode_of(Path(settings.database_path))) & 0o006:
        found.append(f"other users can read {settings.database_path} (mode {mode:04o}): chmod 0640 it")
    return found


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0


def mirror_uploads(
    settings: Settings, target: Path, may_link: Callable[[Path], bool], source: Path | None = None
) -> tuple[int, int]:
    """Copy the bytes of all uploads; see ``mirror``. Blocks; raises ``OSError``."""
    return mirror(source or upload_directory(settings), target, may_link)


def location_of(settings: Settings, upload: Upload) -> Path:
    """The path of the file that has the bytes of ``upload`` on this machine's disk."""
    return path_of(upload_directory(settings), upload)


def upload_directory(settings: Settings) -> Path:
    """The directory of the files of uploads."""
    return Path(settings.storage.data_dir) / "uploads"


def wake_directory(settings: Settings) -> Path:
    """The directory of the sockets by which processes wake each other."""
    return Path(settings.storage.data_dir) / "wake"
