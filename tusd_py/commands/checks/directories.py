"""Whether a directory exists, or could be made, and can be written to."""

from __future__ import annotations

import os
from pathlib import Path


def nearest_existing(directory: Path) -> Path:
    """The directory, or the nearest parent that exists."""
    return next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())


def is_writable(directory: Path) -> bool:
    """Whether it is a directory in which this process may create files."""
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)
