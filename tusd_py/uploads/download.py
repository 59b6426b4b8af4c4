"""GET: return the bytes of an upload. No lock is taken: a slow reader must not delay other requests."""

from __future__ import annotations

from tusd_py.protocol import downloads, rules
from tusd_py.protocol.outcomes import Downloaded
from tusd_py.protocol.requests import Download
from tusd_py.uploads.ports import Ports


async def download(ports: Ports, request: Download) -> Downloaded:
    """The requested bytes, to be read once; of an unfinished upload, where allowed, those saved so far.

    Raises ``TusError``. Reading the body raises ``StoreError`` if the bytes are deleted meanwhile.
    """
    upload = rules.ensure_available(await ports.records.find(request.upload_id), ports.clock())
    rules.download(upload, ports.policy.limits)
    span = downloads.select_range(request, upload)
    if span is None:
        return Downloaded(upload=upload, start=0, stop=0, partial=False, body=None)
    body = ports.store.read(upload, span.start, span.stop)
    return Downloaded(upload=upload, start=span.start, stop=span.stop, partial=span.partial, body=body)
