"""Who may write to an upload, remembered for a bounded number of uploads."""

from __future__ import annotations

import pytest

from tusd_py.model.principal import Principal, Role
from tusd_py.uploads.known_writers import KnownWriters

ADA = Principal(subject="ada", roles=frozenset({Role.UPLOADER}), method="jwt")


def test_remembered_writers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload that was remembered first is forgotten."""
    monkeypatch.setattr("tusd_py.uploads.known_writers.WRITERS_MAX", 2)
    writers = KnownWriters()
    for upload_id in ("a", "b", "c"):
        writers.add(upload_id, ADA)
    assert [False, True, True] == [writers.has(upload_id, ADA) for upload_id in ("a", "b", "c")]
