"""Shutting down without losing anything: running bodies are told to stop, saved, and answered 503."""

from __future__ import annotations

from tusd_py.protocol.errors import ServerShutdown
from tusd_py.web.source import BodySource


class Draining:
    """Knows the bodies that are coming in; lives on the event loop."""

    def __init__(self) -> None:
        self.has_begun = False
        self._sources: set[BodySource] = set()

    def begin(self) -> None:
        """Stop every body, and each that comes later. Call it on the event loop as soon as the end is near."""
        self.has_begun = True
        for source in list(self._sources):
            source.stop(ServerShutdown())

    def end(self) -> None:
        """Everything is closed; what is opened again takes bodies again."""
        self.has_begun = False

    def add(self, source: BodySource) -> None:
        """A body that shall be stopped when the end comes."""
        self._sources.add(source)
        if self.has_begun:
            source.stop(ServerShutdown())

    def discard(self, source: BodySource) -> None:
        """This body has come to its end."""
        self._sources.discard(source)
