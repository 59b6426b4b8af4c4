"""The contract of a listener: a client that is told how its upload goes while it still sends."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.upload import Upload


class ProgressListener(Protocol):
    """Is told on the event loop, after the record says so, and never waits."""

    def on_created(self, upload: Upload) -> bool:
        """The upload can be found from now on. Whether the client was told its URL, so that it may come back for it."""
        ...

    def on_saved(self, upload: Upload) -> None:
        """Bytes up to the upload's offset are safe."""
        ...
