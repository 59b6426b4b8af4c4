"""GET: return the bytes of an upload. No lock is taken: a slow reader must not delay other requests."""

from __future__ import annotations

from tusd_py.access.audit import actor_of
from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.store import BytesMoved
from tusd_py.contracts.zero_copy import SocketWriter, ZeroCopyContent
from tusd_py.model.audit import AuditKind
from tusd_py.model.caller import Caller
from tusd_py.model.links import Link
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol import downloads, rules
from tusd_py.protocol.errors import ContentGone
from tusd_py.protocol.outcomes import Content, Downloaded, Redirected
from tusd_py.protocol.requests import Download
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.single_use import SingleUseContent, link_for_single_use, use_once


async def download(ports: Ports, request: Download, caller: Caller | None = None) -> Downloaded:
    """The requested bytes, to be read once; of an unfinished upload, where allowed, those saved so far.

    The first of them are read here, so that a response with their length is only sent if they are there. Raises
    ``TusError`` or ``StoreError``. Reading the body raises ``StoreError`` if the bytes are deleted meanwhile.
    """
    upload, span = await _select(ports, request)
    if span is None:
        return _not_modified(upload)
    link = None if caller is None else await link_for_single_use(ports, caller)
    return await _read(ports, caller, upload, span, link)


async def download_or_redirect(
    ports: Ports, request: Download, caller: Caller | None = None
) -> Downloaded | Redirected:
    """As ``download``; or, where clients download from the object store itself, the URL for that."""
    upload, span = await _select(ports, request)
    if span is None:
        return _not_modified(upload)
    link = None if caller is None else await link_for_single_use(ports, caller)
    if link is None and ports.download_urls is not None and _may_redirect(request, upload):
        redirected = Redirected(url=await ports.download_urls.url(upload))
        _record(ports, caller, upload)
        return redirected
    return await _read(ports, caller, upload, span, link)


async def _select(ports: Ports, request: Download) -> tuple[Upload, downloads.ByteRange | None]:
    """The upload and what of it is requested; no range if the client has the bytes already."""
    upload = rules.ensure_available(await ports.records.find(request.upload_id), ports.clock())
    if upload.kind is Kind.FINAL and not upload.is_complete:
        rules.ensure_not_assembling(await ports.records.find_all(upload.parts))
    rules.download(upload, ports.policy.limits)
    return upload, downloads.select_range(request, upload)


def _not_modified(upload: Upload) -> Downloaded:
    return Downloaded(upload=upload, start=0, stop=0, partial=False, body=None)


async def _read(
    ports: Ports, caller: Caller | None, upload: Upload, span: downloads.ByteRange, link: Link | None
) -> Downloaded:
    use = None if link is None else await use_once(ports, link, upload.offset, span.start, span.stop)
    try:
        body = await _begun(ports.store.read(upload, span.start, span.stop))
    except BaseException:
        if use is not None:
            await finish_despite_cancel(use.release(0, is_whole=False))
        raise
    if use is not None:
        body = SingleUseContent(body, use)
    _record(ports, caller, upload)
    return Downloaded(upload=upload, start=span.start, stop=span.stop, partial=span.partial, body=body)


def _may_redirect(request: Download, upload: Upload) -> bool:
    """Whether the object store can answer ``request`` as this server would.

    It has another entity tag and another date for the same bytes, so it would refuse a request that names ours. A link
    for a single use is not redirected either: nothing limits how often the URL is used.
    """
    conditions = (request.if_match, request.if_range, request.if_unmodified_since)
    return upload.is_complete and upload.offset > 0 and conditions == (None, None, None)


def _record(ports: Ports, caller: Caller | None, upload: Upload) -> None:
    """Write the download to the audit log."""
    if ports.audit is not None and ports.audit.records_downloads and caller is not None:
        ports.audit.record_later(ports.audit.entry(actor_of(caller), "download", AuditKind.UPLOAD, upload.id))


async def _begun(content: Content) -> Content:
    """``content`` with its first piece read. Raises ``ContentGone`` or ``StoreError``."""
    try:
        first = await anext(content, b"")
    except BaseException as failure:
        await content.aclose()
        if isinstance(failure, BytesMoved):
            raise ContentGone from failure
        raise
    if isinstance(content, ZeroCopyContent):
        return _BegunZeroCopy(first, content)
    return _Begun(first, content)


class _Begun:
    """A content whose first piece was read already."""

    def __init__(self, first: bytes, rest: Content) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> _Begun:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        self._first = b""
        await self._rest.aclose()


class _BegunZeroCopy(_Begun):
    """A ``ZeroCopyContent`` whose first piece was read already; that piece must be read before a transfer."""

    _rest: ZeroCopyContent

    async def transfer(self, writer: SocketWriter) -> None:
        await self._rest.transfer(writer)
