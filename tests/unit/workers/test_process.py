"""The process of a worker: what it takes from its parent, and that it ends with it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from workers import process


def test_wrong_and_cut_settings_do_not_hide_the_end_of_the_parent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line that cannot be taken over is logged without its text; a part of a line is left out."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    lines = list[bytes]()
    stopping = threading.Event()

    def reload(line: bytes) -> None:
        lines.append(line)
        if line == b"wrong\n":
            raise ValueError("secret")

    reader, writer = os.pipe()
    process._set_on_stop(stopping, reader, reload)
    os.write(writer, b"wrong\nright\npart of a li")
    assert not stopping.is_set()
    os.close(writer)
    assert stopping.wait(10)
    assert [b"wrong\n", b"right\n"] == lines
    assert ["could not take over settings"] == [record.getMessage() for record in caplog.records]
    assert "secret" not in caplog.text
