"""The name of a file as the client declares it, and as people are shown it."""

from __future__ import annotations

import pytest

from tusd_py.protocol.file_names import declared_folders, declared_name, shown_name, split_extension


def test_filename_before_name() -> None:
    """Only the last segment of a path counts."""
    assert "a.png" == declared_name({"filename": b"C:\\x\\a.png", "name": b"b"})
    assert "b" == declared_name({"filename": b"", "name": b"/x/b"})
    assert "" == declared_name({})


def test_folders_are_those_of_relative_path_without_dots() -> None:
    """Those of ``relativePath``, without dots; Uppy sends ``null`` for a file without folders."""
    assert ["a", "b"] == declared_folders({"relativePath": b"/a/../b/c.png"})
    assert [] == declared_folders({"relativePath": b"null"}) == declared_folders({})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpj\u202eexe.scr", "gpjexe.scr"),
        ("9.41\u202fAM.png", "9.41 AM.png"),
        ("a\u00a0b\u3000c", "a b c"),
        ("👩\u200d👧.png", "👩\u200d👧.png"),
        (" .hidden. ", "hidden"),
        ("\u200d", ""),
        ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
        ("x" * 300 + "." + "y" * 30, "x" * 255),
    ],
)
def test_shown_name(name: str, shown: str) -> None:
    """It is what it looks like, and a long one keeps its extension."""
    assert shown == shown_name({"filename": name.encode()})


def test_split_extension() -> None:
    """What follows the last dot, unless that is the whole name or too long."""
    assert ("a.tar", ".gz") == split_extension("a.tar.gz")
    assert (".profile", "") == split_extension(".profile")
    assert ("a." + "x" * 21, "") == split_extension("a." + "x" * 21)
