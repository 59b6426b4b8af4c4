"""Output for the operator: lines on standard output, and problems on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

#: The largest first; 1,500 MB is not a whole number of GB.
_UNITS = (("TB", 1000**4), ("GB", 1000**3), ("MB", 1000**2), ("kB", 1000))


def say(line: str) -> None:
    """Print one line on standard output and flush it: scripts wait for some of them.

    Exits with 2 and a sentence if it cannot be written, and silently with 1 if its reader has gone (``| head``).
    """
    try:
        write_line(line)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        fail([f"standard output cannot be written to: {error.strerror}"])


def say_empty(line: str) -> None:
    """Say on standard error that a list is empty, so that a program that reads the list reads nothing."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def counted(count: int, noun: str, plural: str = "") -> str:
    """The number with its noun, such as ``1 key`` and ``2 keys``. ``plural`` is needed where no s makes it."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def size_text(count: int) -> str:
    """A number of bytes as a size that an option or a setting takes, where that is exact: ``5GB``, ``1500MB``."""
    for unit, size in _UNITS:
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return counted(count, "byte")


def announce(line: str) -> None:
    """Print one line of a server that has started: it goes on if nothing can read the line."""
    with suppress(OSError):
        write_line(line)


def write_line(line: str) -> None:
    """Print one line on standard output and flush it. Raises ``OSError``; later lines are then discarded."""
    # A path that is not UTF-8 has characters that standard output cannot encode.
    text = line.encode("utf-8", "backslashreplace").decode()
    try:
        print(text, flush=True)
    except OSError:
        # The interpreter writes what is buffered again when it exits.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # open for the rest of the process
        raise


def fail(problems: list[str]) -> NoReturn:
    """Print each problem on standard error and exit with code 2."""
    from tusd_py.settings.loading import exit_with

    exit_with(problems)
