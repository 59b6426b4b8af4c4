"""Pauses and resumes reading from one connection."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl


class ReadFlow(FlowControl):
    """uvicorn's flow control, with a hold: while the client is ahead of its responses, nothing resumes reading."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        #: Something that was received is not parsed, or a parsed request waits.
        self.is_held = False

    def hold(self) -> None:
        """Read nothing until ``release``."""
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        """End the hold, and read."""
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless the client is ahead."""
        if not self.is_held:
            super().resume_reading()
