"""``python -m workers``: run a worker, by itself with its own settings or as the child of a server."""

from __future__ import annotations

import argparse
import json
import os
import sys

from tusd_py import logs
from tusd_py.settings import Settings, load_or_exit

from .process import work

_SETTINGS_BYTES_MAX = 1024 * 1024


def main() -> int:
    """The entry point of the process; returns its exit code."""
    arguments = _arguments()
    settings = load_or_exit(os.environ) if arguments.settings is None else _read_settings(arguments.settings)
    logs.configure(settings.log.format, settings.log.level, sys.stderr, privacy=settings.log.privacy)
    return work(settings, arguments.settings if arguments.child else None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Run a background worker (webhooks, validation, publishing)."
    )
    parser.add_argument("--settings", type=int, help="file descriptor to read the settings from, as a line of JSON")
    parser.add_argument("--child", action="store_true", help="stop when the other end of --settings is closed")
    return parser.parse_args()


def _read_settings(descriptor: int) -> Settings:
    """The settings of the parent process, which has already merged flags, environment and file.

    If it has changed them since, the last line counts.
    """
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 65536)
        if not piece or len(line) > _SETTINGS_BYTES_MAX:
            sys.exit("tusd-py: no settings arrived on the descriptor of --settings")
        line += piece
    return Settings.model_validate(json.loads(line.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
