"""Output of commands when standard output cannot be written to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tusd_py.commands.output import counted, size_text


@pytest.mark.parametrize("arguments", [["--version"], ["config", "--default"]])
def test_full_standard_output_exits_with_2_and_a_sentence(arguments: list[str]) -> None:
    """A full standard output is one sentence and exit code 2, not a traceback."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "tusd_py", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    expected = "tusd-py: standard output cannot be written to: No space left on device\n"
    assert (2, expected) == (result.returncode, result.stderr)


def test_reader_that_has_gone_ends_the_command_silently() -> None:
    """``tusd-py config --default | true`` prints nothing on standard error."""
    command = f"{sys.executable} -m tusd_py config --default | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (0, "") == (result.returncode, result.stderr)


def test_counted_and_sizes() -> None:
    """One thing is singular; a size is one that options take, where that is exact."""
    assert [counted(number, "key") for number in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]
    sizes = {0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1kB", 1_500_000_000: "1500MB", 5 * 10**9: "5GB"}
    assert {size: size_text(size) for size in sizes} == sizes
