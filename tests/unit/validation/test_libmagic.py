"""libmagic: the system's where there is one, else the bundled one; and the process is left as it was."""

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
libmagic._found = found
assert libmagic.detect_type(b"%PDF-1.4\\n") == "application/pdf"
assert dict(os.environ) == before, "the environment was changed"
assert "pylibmagic" not in sys.modules
import magic
print(found.database, magic.version())
"""


def run(*arguments: str, prefix: tuple[str, ...] = ()) -> tuple[str, int]:
    """The database and the version that a process of its own takes."""
    command = [*prefix, sys.executable, "-c", _SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    database, version = done.stdout.split()
    return database, int(version)


@pytest.mark.parametrize(
    ("content", "real"),
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
def test_the_type_of_bytes_is_told(content: bytes, real: str) -> None:
    """Real files of some kinds are known by their first bytes."""
    assert real == detect_type(content)


def test_every_thread_has_its_own() -> None:
    """Many threads at once are all told the truth."""
    told: list[str] = []

    def ask() -> None:
        told.extend(detect_type(samples.PNG) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["image/png"] * 400 == told


def test_without_the_systems_the_bundled_one_is_taken() -> None:
    """With its own database, which is of the same version."""
    database, version = run("libmagic-is-not-there.so")
    assert Path(database).parent.name == "pylibmagic"
    assert 541 == version


@pytest.mark.skipif(find_library("magic") is None, reason="needs a libmagic of the system's")
def test_the_systems_is_taken_where_there_is_one() -> None:
    """With its own choice of database."""
    assert "None" == run()[0]


def _libraries() -> list[str]:
    folders = ("/lib", "/usr/lib", "/usr/local/lib")
    return [str(path) for folder in folders for path in Path(folder).rglob("libmagic.so*") if not path.is_symlink()]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or not _libraries(),
    reason="hiding the system's libmagic needs root, unshare and a libmagic to hide",
)
def test_on_a_machine_whose_libmagic_is_hidden_the_bundled_one_is_taken() -> None:
    """The files of the system's library and database are covered up, for one process and its children."""
    covered = [*_libraries(), *map(str, Path("/usr").rglob("magic.mgc"))]
    hide = "; ".join(f"mount --bind /dev/null '{path}'" for path in covered if "site-packages" not in path)
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    database, version = run(prefix=("unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh"))
    assert Path(database).parent.name == "pylibmagic"
    assert 541 == version
