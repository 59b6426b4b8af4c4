"""Faults for the processes of a server: killed at a step, a clock that is set, a name that is never resolved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INJECTED = Path(__file__).parent / "injected"
HANGING_HOST = "hanging.test"


@dataclass(frozen=True)
class KilledAt:
    """Kills the process that first calls ``function`` for the given time, before it or after it."""

    function: str  # "module:function" or "module:Class.method"
    when: str  # "before" or "after"
    number: int = 1


def environment(
    directory: Path, *, killed_at: KilledAt | None = None, has_hanging_host: bool = False, has_clock: bool = False
) -> dict[str, str]:
    """Environment variables that bring these faults; ``directory`` has the files that they need.

    The clock is that of ``set_clock``, which must be called before.
    """
    variables = {"PYTHONPATH": str(INJECTED)}
    if killed_at is not None:
        marker = marker_of(directory)
        variables["TEST_KILL"] = f"{killed_at.function} {killed_at.when} {killed_at.number} {marker}"
    if has_hanging_host:
        variables["TEST_HANGING_HOST"] = HANGING_HOST
    if has_clock:
        variables["TEST_CLOCK"] = str(directory / "clock")
    return variables


def marker_of(directory: Path) -> Path:
    """The file that exists once a process was killed."""
    return directory / "killed"


def set_clock(directory: Path, seconds: float) -> None:
    """Set the clock of all processes to the real time plus ``seconds``."""
    new = directory / "clock.new"
    new.write_text(str(seconds))
    new.replace(directory / "clock")
