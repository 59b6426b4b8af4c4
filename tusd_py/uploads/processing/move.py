"""A post-finish hook has moved the bytes of an upload: programs written for tusd do so."""

from __future__ import annotations

import logging

from tusd_py.model.upload import TRANSITIONS, Status, Upload
from tusd_py.uploads.commit import update
from tusd_py.uploads.ports import Ports

log = logging.getLogger(__name__)


async def record_move(ports: Ports, upload_id: str, path: str) -> None:
    """Record that a hook has moved the bytes of a complete upload to ``path``. The store is not touched.

    Does nothing if the upload has ended or failed meanwhile. Raises ``RecordConflict`` if it changes just now, or
    another ``RecordsError``.
    """
    upload = await ports.records.find(upload_id)
    if upload is None or not upload.is_complete or not is_elsewhere(ports, upload, path):
        return
    if Status.MOVED not in TRANSITIONS[upload.status]:
        log.info("the bytes of upload %s were moved, but it is %s", upload_id, upload.status)
        return
    await update(ports, upload, moved(ports, upload, path))


def is_elsewhere(ports: Ports, upload: Upload, path: str) -> bool:
    """Whether ``path`` is not where the bytes are: a hook may return the path that it was given."""
    return ports.store.location(upload).get("Path") != path


def moved(ports: Ports, upload: Upload, path: str) -> Upload:
    """The complete ``upload`` with its bytes at ``path``."""
    now = ports.clock()
    after = upload.move(path, now)
    return after.expiring(ports.policy.expiry(after, now))
