"""The contract of a progress listener, which reports saved bytes to a client while its body still arrives."""

from __future__ import annotations

from typing import Protocol

from tusd_py.model.upload import Upload


class ProgressListener(Protocol):
    """Called on the event loop after the record is saved; must not block."""

    def on_created(self, upload: Upload) -> bool:
        """The record of the upload has been created. Returns whether the client was sent the URL and may resume."""
        ...

    def on_saved(self, upload: Upload) -> None:
        """The bytes up to the offset of the upload have been saved."""
        ...
