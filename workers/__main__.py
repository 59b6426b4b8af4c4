"""``python -m workers``: a worker by itself, with the settings that ``tusd-py serve`` would have, or as its child."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tusd_py import logs
from tusd_py.settings import Settings, SettingsError, find_config, load

from .process import work

_SETTINGS_BYTES_MAX = 1024 * 1024


def main() -> int:
    """The entry point of the process; returns its exit code."""
    arguments = _arguments()
    settings = _given(arguments.settings) if arguments.settings is not None else _found()
    logs.configure(settings.log.format, settings.log.level, sys.stderr)
    return work(settings, arguments.settings if arguments.child else None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description="Do what follows from uploads.")
    parser.add_argument("--settings", type=int, help="a descriptor to read the settings from: a line of JSON")
    parser.add_argument("--child", action="store_true", help="end when the other end of --settings is closed")
    return parser.parse_args()


def _given(descriptor: int) -> Settings:
    """The settings that the process before this one has read: flags, environment and file mean the same here."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 65536)
        if not piece or len(line) > _SETTINGS_BYTES_MAX:
            sys.exit("tusd-py: the worker was given no settings")
        line += piece
    return Settings.model_validate_json(line)


def _found() -> Settings:
    try:
        return load(find_config(None, os.environ, Path()), os.environ)
    except SettingsError as error:
        sys.exit("\n".join(f"tusd-py: {problem}" for problem in error.problems))


if __name__ == "__main__":
    sys.exit(main())
