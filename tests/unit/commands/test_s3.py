"""``tusd-py s3``: what it refuses. What it finds and removes is tested with a real server."""

from __future__ import annotations

import pytest

from tests.support.command import run


def test_store_without_a_bucket() -> None:
    """Exit code 2 and a sentence."""
    run("migrate", "--data-dir", "d")
    result = run("s3", "janitor", "--data-dir", "d")
    assert (result.exit_code, 'storage.kind is not "s3": there is no bucket' in result.output) == (2, True)


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7w", "36501d", "9" * 5000 + "d"])
def test_age_that_is_no_time(text: str) -> None:
    """Exit code 2 and a sentence, also for a time before the first year of the calendar."""
    result = run("s3", "janitor", f"--older-than={text}", "--data-dir", "d")
    assert (result.exit_code, "it must be a time such as 90m, 12h or 7d" in result.output) == (2, True)
