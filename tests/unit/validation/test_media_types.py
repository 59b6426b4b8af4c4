"""Which declared types agree with the types detected in real files: the corpus of tests/support/file_types.py."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from tests.support import samples
from tests.support.file_types import honest_files
from tests.support.media_type_names import TABLE
from tests.support.text_types import FileType
from tusd_py.validation.libmagic import detect_type
from tusd_py.validation.media_types import canonical_name, is_allowed, more_specific, types_agree

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_FILES = {file.name: file for file in honest_files()}
_BUNDLED = """
import json, sys
from tests.support.file_types import honest_files
from tusd_py.validation import libmagic
libmagic._loaded = libmagic.load(["libmagic-is-not-there.so"])
print(json.dumps({file.name: libmagic.detect_type(file.content) for file in honest_files()}))
"""

#: What is often sent under a false name, by its name in the corpus.
_DISGUISED = (
    *(
        "html",
        "xhtml",
        "svg",
        "svg, comment first",
        "svg, byte order mark",
        "sh",
        "php",
        "exe",
        "elf",
        "mach-o",
        "class",
    ),
    *("pdf", "zip", "7z", "rar", "gz", "png", "jpg", "gif", "mp4", "mkv", "mp3", "doc", "rtf", "ps", "sqlite"),
)
#: The names under which it is sent, with what may have such a name in truth.
_DISGUISES: dict[str, tuple[str, ...]] = {
    "image/png": ("png",),
    "image/jpeg": ("jpg",),
    "image/gif": ("gif",),
    "image/webp": (),
    "image/heic": (),
    "image/tiff": (),
    "image/bmp": (),
    "image/x-icon": (),
    "image/x-nikon-nef": (),
    "application/pdf": ("pdf",),
    "video/mp4": ("mp4",),
    "video/webm": ("mkv",),
    "video/x-ms-wmv": (),
    "audio/mpeg": ("mp3",),
    "audio/wav": (),
    "text/plain": (),
    "text/csv": (),
    "text/markdown": (),
    "application/json": (),
    "application/vnd.ms-excel": (),
    "application/msword": ("doc", "rtf"),
    _DOCX: ("zip",),
    "application/epub+zip": ("zip",),
    "application/zip": ("zip",),
    "application/x-7z-compressed": ("7z",),
    "application/gzip": ("gz",),
    "application/x-compressed-tar": ("gz",),
    "font/ttf": (),
    "application/rtf": ("doc", "rtf"),
    "text/html": ("html", "xhtml"),
}


@cache
def _detected_by_bundled() -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", _BUNDLED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_size_of_the_corpus() -> None:
    """At least 120 kinds of files, under more names than that."""
    assert len(_FILES) == len(honest_files()) > 120
    assert len({name for file in honest_files() for name in file.declared}) > 250


@pytest.mark.parametrize("file", honest_files(), ids=list(_FILES))
def test_an_honest_file_agrees(file: FileType) -> None:
    """With each type that clients declare for it; by the system's libmagic and by the bundled one, which is older."""
    for detected in (detect_type(file.content), _detected_by_bundled()[file.name]):
        assert [] == [name for name in file.declared if not types_agree(name, detected)], detected


@pytest.mark.parametrize("declared", _DISGUISES)
def test_a_disguised_file_does_not_agree(declared: str) -> None:
    """A page, a picture with scripts, a program or another file that pretends to be of the type."""
    wrong = [
        f"{name} ({detected})"
        for name in _DISGUISED
        if name not in _DISGUISES[declared]
        for detected in (detect_type(_FILES[name].content), _detected_by_bundled()[name])
        if types_agree(declared, detected)
    ]
    assert [] == wrong


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ("application/pdf", samples.TEXT),
        ("application/pdf", samples.NOISE),
        ("image/png", samples.NOISE),
        ("text/csv", samples.NOISE),
        ("text/html", samples.TEXT),
        ("image/svg+xml", samples.TEXT),
        (_DOCX, samples.NOISE),
        ("application/zip", samples.TEXT),
    ],
)
def test_text_and_noise_do_not_agree_with_what_is_always_detected(declared: str, content: bytes) -> None:
    """Content without a signature is no file of a type that has one."""
    assert not types_agree(declared, detect_type(content)), detect_type(content)


def test_the_more_specific_type_is_used_where_both_agree() -> None:
    """A zip may be the document it is declared to be; a program is not an image by being called one."""
    assert _DOCX == more_specific(_DOCX, "application/zip")
    assert "text/csv" == more_specific("text/csv", "text/plain")
    assert "text/csv" == more_specific("application/vnd.ms-excel", "text/plain")
    assert "application/x-dosexec" == more_specific("image/png", "application/x-dosexec")
    assert "text/html" == more_specific("text/plain", "text/html")


@pytest.mark.parametrize(
    ("pattern", "declared", "detected", "expected"),
    [
        ("audio/wav", "audio/wav", "audio/x-wav", True),
        ("AUDIO/X-WAV", "", "audio/wav", True),
        ("image/*", "image/png", "image/png", True),
        ("image/*", "image/pdf", "application/pdf", False),
        ("image/*", "image/x-nikon-nef", "image/tiff", True),
        (_DOCX, _DOCX, "application/zip", True),
        ("application/vnd.openxmlformats*", _DOCX, "application/zip", True),
        ("application/zip", "application/zip", "application/x-dosexec", False),
        ("application/x-msdownload", "", "application/x-dosexec", True),
        ("text/csv", "application/vnd.ms-excel", "text/plain", True),
        ("text/csv", "", "text/plain", False),
    ],
)
def test_patterns_of_allowed_types(pattern: str, declared: str, detected: str, *, expected: bool) -> None:
    """A type matches under all its names; a pattern with wildcards matches what was detected, or its special case."""
    assert expected == is_allowed((pattern,), declared, detected)


def test_names_of_one_type() -> None:
    """In any case, with and without ``x-``, of shared-mime-info, mime-db and libmagic."""
    assert canonical_name("IMAGE/JPG") == canonical_name("image/jpeg")
    assert canonical_name("application/yaml") == canonical_name("application/x-yaml")
    assert canonical_name("application/x-msdownload") == canonical_name("application/x-dosexec")
    assert canonical_name("application/x-sh") == canonical_name("text/x-shellscript")


def test_the_table_is_generated() -> None:
    """``make media-types`` writes it: it has both parts, in lower case."""
    table = json.loads(TABLE.read_text())
    assert {"aliases", "parents"} == set(table)
    assert len(table["aliases"]) > 300
    assert all(name == name.lower() for part in table.values() for name in part)
