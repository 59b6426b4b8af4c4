"""Reading the operator's logo at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tusd_py.web.page.logo import BYTES_MAX, Logo, read_logo


def test_logo_is_read(tmp_path: Path) -> None:
    """The bytes are those of the file; the extension decides on the type."""
    (tmp_path / "Logo.PNG").write_bytes(b"picture")
    assert Logo(b"picture", ".png") == read_logo(str(tmp_path / "Logo.PNG"))
    assert read_logo("") is None


def test_missing_logo_is_told(tmp_path: Path) -> None:
    """The sentence names the setting and the path."""
    with pytest.raises(OSError, match=r"^page\.logo: No such file or directory: .*/none\.svg$"):
        read_logo(str(tmp_path / "none.svg"))


@pytest.mark.parametrize(("length", "problem"), [(0, "is empty"), (BYTES_MAX + 1, "is larger than 512 KiB")])
def test_unusable_logo_is_told(tmp_path: Path, length: int, problem: str) -> None:
    """An empty file and one that would slow every visit down are refused."""
    path = tmp_path / "logo.svg"
    path.write_bytes(bytes(length))
    with pytest.raises(OSError, match=problem):
        read_logo(str(path))
