"""``ReadFlow``: what a hold means for pausing and resuming."""

from __future__ import annotations

from typing import Any, cast

from tusd_py.serving.http.reading import ReadFlow


class FakeTransport:
    """Records whether it reads."""

    def __init__(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


def test_resume_does_not_end_a_hold() -> None:
    """Only ``release`` does."""
    transport = FakeTransport()
    flow = ReadFlow(cast("Any", transport))
    flow.hold()
    flow.hold()
    flow.resume_reading()
    assert not transport.is_reading
    flow.release()
    assert transport.is_reading


def test_pause_without_a_hold() -> None:
    """It is resumed as usual."""
    transport = FakeTransport()
    flow = ReadFlow(cast("Any", transport))
    flow.pause_reading()
    assert not transport.is_reading
    flow.resume_reading()
    assert transport.is_reading
