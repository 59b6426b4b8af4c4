"""The limit of open files is raised to the hard limit; each case runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

RAISED = """
import resource, sys
from tusd_py.serving.open_files import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:3])))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("soft,hard", [(64, 512), (512, 512)])
def test_raised_to_the_hard_limit(soft: int, hard: int) -> None:
    """The soft limit becomes the hard limit, and the hard limit is unchanged."""
    done = subprocess.run(
        [sys.executable, "-c", RAISED, str(soft), str(hard)], capture_output=True, text=True, check=True
    )
    assert [512, 512, 512] == [int(word) for word in done.stdout.split()]
