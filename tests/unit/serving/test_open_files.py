"""The limit of open files: raised as far as it may be, in a process of its own for each case."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

RAISED = """
import resource, sys
from tusd_py.serving.limits import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:3])))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("soft,hard", [(64, 512), (512, 512)])
def test_the_hard_limit_is_had(soft: int, hard: int) -> None:
    """And no more is asked for."""
    done = subprocess.run(
        [sys.executable, "-c", RAISED, str(soft), str(hard)], capture_output=True, text=True, check=True
    )
    assert [512, 512, 512] == [int(word) for word in done.stdout.split()]
