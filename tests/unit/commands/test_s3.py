"""``tusd-py s3``: what it refuses. What it finds and removes is tested with a real server."""

from __future__ import annotations

from tests.support.command import run


def test_store_without_a_bucket() -> None:
    """Exit code 2 and a sentence."""
    run("migrate", "--data-dir", "d")
    result = run("s3", "janitor", "--data-dir", "d")
    assert (result.exit_code, 'storage.kind is not "s3": there is no bucket' in result.output) == (2, True)
