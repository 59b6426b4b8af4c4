"""libmagic: the system's library if there is one, else the bundled one; the environment is not changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.support import samples
from tusd_py.validation.libmagic import detect_type

_SCRIPT = """
import os, sys
before = dict(os.environ)
from tusd_py.validation import libmagic
names = sys.argv[1:]
found = libmagic.load(names) if names else libmagic.load()
libmagic._loaded = found
assert libmagic.detect_type(b"%PDF-1.4\\n") == "application/pdf"
assert dict(os.environ) == before, "the environment was changed"
assert "pylibmagic" not in sys.modules
import magic
print(found.database, magic.version())
"""


def run(*arguments: str, prefix: tuple[str, ...] = ()) -> tuple[str, int]:
    """The database and the version that a new process uses."""
    command = [*prefix, sys.executable, "-c", _SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    database, version = done.stdout.split()
    return database, int(version)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (samples.PNG, "image/png"),
        (samples.JPEG, "image/jpeg"),
        (samples.PDF, "application/pdf"),
        (samples.HTML, "text/html"),
        (samples.SVG, "image/svg+xml"),
        (samples.ZIP, "application/zip"),
        (b"", "application/x-empty"),
    ],
)
def test_types_of_common_files(content: bytes, expected: str) -> None:
    """Each is detected by its first bytes."""
    assert expected == detect_type(content)


def test_threads_do_not_share_state() -> None:
    """Many threads at once all get the right type."""
    types: list[str] = []

    def detect() -> None:
        types.extend(detect_type(samples.PNG) for _ in range(50))

    threads = [threading.Thread(target=detect) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["image/png"] * 400 == types


def test_fallback_to_the_bundled_library() -> None:
    """With its own database, which has the same version."""
    database, version = run("libmagic-is-not-there.so")
    assert Path(database).parent.name == "pylibmagic"
    assert 541 == version


@pytest.mark.skipif(find_library("magic") is None, reason="needs a libmagic of the system")
def test_the_library_of_the_system_is_preferred() -> None:
    """With its default database."""
    assert "None" == run()[0]


def _libraries() -> list[str]:
    folders = ("/lib", "/usr/lib", "/usr/local/lib")
    return [str(path) for folder in folders for path in Path(folder).rglob("libmagic.so*") if not path.is_symlink()]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or not _libraries(),
    reason="hiding the system's libmagic needs root, unshare and a libmagic to hide",
)
def test_fallback_on_a_machine_without_libmagic() -> None:
    """The files of the library and the database are hidden from one process by a mount namespace."""
    covered = [*_libraries(), *map(str, Path("/usr").rglob("magic.mgc"))]
    hide = "; ".join(f"mount --bind /dev/null '{path}'" for path in covered if "site-packages" not in path)
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("needs permission to create a mount namespace")
    database, version = run(prefix=("unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh"))
    assert Path(database).parent.name == "pylibmagic"
    assert 541 == version
