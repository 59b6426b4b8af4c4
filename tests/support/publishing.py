"""File systems that lack what publishing uses."""

from __future__ import annotations

import errno
import os

import pytest

from tusd_py.publishing import renaming


def without_links(monkeypatch: pytest.MonkeyPatch, error: int = errno.EPERM) -> None:
    """Have every hard link fail, as on exFAT and on some network shares."""

    def link(*_: object, **_named: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", link)


def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system know no rename that does not replace, as on some network shares and on macOS."""
    monkeypatch.setattr(renaming, "_libc", object())
