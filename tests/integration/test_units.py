"""The systemd units of the documentation are hardened."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
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


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="systemd is not installed"
)
def test_units_are_valid(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say: no unknown directive, no wrong value."""
    units = []
    for document in ("install.md", "workers.md", "operations.md"):
        text = (DOCS / document).read_text()
        for name, unit in re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", text, re.S):
            # The program has to exist.
            (tmp_path / name).write_text(unit.replace("/opt/tusd-py/bin/tusd-py", sys.executable))
            units.append(str(tmp_path / name))
    assert 3 == len(units)
    command = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
