"""``tusd-py sweep``."""

from __future__ import annotations

from tests.support.command import run


def test_one_pass_is_counted() -> None:
    """``sweep`` makes one pass and prints what it did; without uploads all counts are 0."""
    run("migrate", "--data-dir", "d")
    result = run("sweep", "--data-dir", "d")
    assert 0 == result.exit_code, result.output
    assert "expired 0, pruned 0, skipped because in use 0\n" == result.stdout
