"""Which package a worker process runs: the one beside ``tusd_py``, wherever ``sys.path`` leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tusd_py.serving.worker_program import worker_package


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (["tusd_py_workers"], "tusd_py_workers"),
        (["workers"], "workers"),
        (["tusd_py_workers", "workers"], "tusd_py_workers"),
    ],
    ids=["wheel", "checkout", "wheel beside a package of the user"],
)
def test_the_worker_package_lies_beside_tusd_py(tmp_path: Path, beside: list[str], expected: str) -> None:
    """The name that a wheel installs is preferred: a package ``workers`` beside it belongs to the user."""
    for name in ("tusd_py", *beside):
        (tmp_path / name).mkdir()
    assert tmp_path / expected == worker_package(tmp_path / "tusd_py")
