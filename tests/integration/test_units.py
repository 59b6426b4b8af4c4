"""The systemd units of the documentation are hardened."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="systemd is not installed"
)
@pytest.mark.parametrize(
    ("document", "unit"), [("install.md", "tusd-py.service"), ("workers.md", "tusd-py-worker.service")]
)
def test_units_are_hardened(document: str, unit: str, tmp_path: Path) -> None:
    """``systemd-analyze security`` rates each service at most 3.0 of 10."""
    found = re.search(rf"```ini\n(# /etc/systemd/system/{unit}\n.*?)```", (DOCS / document).read_text(), re.S)
    assert found is not None
    (tmp_path / unit).write_text(found[1])
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout
