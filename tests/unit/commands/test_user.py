"""``tusd-py user``: what it says when it cannot ask for a password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.command import run


def test_a_password_without_a_terminal_is_refused_and_the_option_is_named(tmp_path: Path) -> None:
    """A process without a terminal gets one sentence with ``--password-stdin`` and status 2, and makes no account."""
    data = ("--data-dir", str(tmp_path))
    assert run("migrate", *data).exit_code == 0
    done = subprocess.run(
        [sys.executable, "-m", "tusd_py", "user", "add", "alice", *data],
        input=b"correct horse battery\n" * 2,
        capture_output=True,
        check=False,
        cwd=tmp_path,
        start_new_session=True,  # a process of a new session has no terminal, so /dev/tty cannot be opened
    )
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "--password-stdin" in said
    assert "Warning" not in said
    assert "alice" not in run("user", "list", *data).stdout
