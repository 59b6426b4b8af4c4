"""The body of one request on its way into the store: every byte counts, and the record is saved as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.body import BodyAborted, BodyError, BodyTimeout, RequestBody
from tusd_py.contracts.store import BytesMissing, Sink, StoreError
from tusd_py.contracts.zero_copy import ZeroCopyBody, ZeroCopySink
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    InconsistentLength,
    ReadTimeout,
    TusError,
    TypeNotAllowed,
)
from tusd_py.protocol.requests import BodyInfo
from tusd_py.protocol.rules import Remaining
from tusd_py.uploads.body.checksum import ChecksumVerifier
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.sniffer import sniffer_for
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed

#: Smaller bodies are read: to lend one costs more than to copy it.
ZERO_COPY_BYTES_MIN = 256 * 1024
Way = tuple[ZeroCopyBody, ZeroCopySink]


class BodyReceiver:
    """Moves one body into the store. ``upload`` is always as its record says.

    ``completes`` is what the request says of the upload's end, as in ``Create``: with None the length decides alone.
    """

    def __init__(self, ports: Ports, upload: Upload, committer: Committer, completes: bool | None = None) -> None:
        self.upload = upload
        self._ports = ports
        self._committer = committer
        self._completes = completes
        self._start = upload.offset
        self._received = 0  # bytes of this body
        self._saves = True  # while the body runs
        self._has_saved = False  # before its end
        self._sink: Sink = ports.store.open(upload)
        self._glancing = sniffer_for(ports, upload)

    async def run(self, source: RequestBody, body: BodyInfo, room: Remaining, length: int | None) -> Upload:
        """Store the body and return the upload as it then stands, complete if these were its last bytes.

        ``length`` is what the upload's length is after this request; it is saved only with the body's end, so that a
        refused request never declares one. Raises ``TusError``, ``StoreError`` or ``RecordConflict``; what came before
        is then saved, but for a body with a checksum: that is all or nothing, unless the body says that a cut counts,
        or that its upload ends if it is wrong: then it is saved on the way as any other. Cancelled, what was received
        is saved first.
        """
        digesting = ChecksumVerifier(body) if body.is_verified else None
        keeps_cuts = digesting is None or body.keep_partial
        self._saves = digesting is None or body.discard_on_mismatch
        failure: Exception | None = None
        try:
            way = self._way_past(source, body, room)
            await self._pump(source, room, digesting, length, way)
            if self._glancing is not None and (self._completes or self._start + self._received == length):
                await self._glancing.judge()
            if body.length is not None and self._received != body.length:
                failure = BodyAborted()
            elif digesting is not None:
                await digesting.verify(source.trailers())
        except (BodyError, StoreError) as error:
            failure = error
        except TusError as error:
            if error is room.refusal or isinstance(error, ChecksumMismatch | TypeNotAllowed):
                raise
            failure = error
        except asyncio.CancelledError:
            if keeps_cuts:
                await finish_despite_cancel(self._settle(BodyAborted(), length))
            raise
        if failure is not None and not keeps_cuts:
            raise _refusal(failure)
        try:
            return await self._settle(failure, length)
        except asyncio.CancelledError:
            # Once more from the start: a save that was under way has either been made, and refuses this one, or not.
            await finish_despite_cancel(self._settle(failure, length))
            raise

    async def end_at_length(self) -> Upload:
        """Complete what another dialect left open at its length. Raises ``StoreError`` or ``RecordConflict``."""
        return await self._settle(None, self.upload.length)

    async def invalidate(self, reason: str) -> None:
        """Nobody can go on with this upload any more. For one that is complete, nothing changes."""
        if not self.upload.is_complete:
            now = self._ports.clock()
            failed = self.upload.with_status(Status.FAILED, now, reason)
            failed = failed.expiring(self._ports.policy.expiry(failed, now))
            self.upload = await self._committer.commit(self.upload, failed, is_last=True)

    async def close(self) -> None:
        """Let go of the store. Call it whatever happened."""
        await self._sink.close()

    def _way_past(self, source: RequestBody, body: BodyInfo, room: Remaining) -> Way | None:
        """The way from source to file past the event loop, for bytes that may take it: none can be too many."""
        if body.length is None or body.length < ZERO_COPY_BYTES_MIN:
            return None
        if room.bytes is not None and body.length > room.bytes:
            return None
        # Asked once for a body: to look through the methods of an object takes longer than to receive a small piece.
        if isinstance(source, ZeroCopyBody) and isinstance(self._sink, ZeroCopySink):
            return source, self._sink
        return None

    async def _pump(
        self,
        source: RequestBody,
        room: Remaining,
        digesting: ChecksumVerifier | None,
        length: int | None,
        way: Way | None,
    ) -> None:
        """Take the body to its clean end, and save on the way."""
        pace = self._ports.policy
        clock = asyncio.get_running_loop().time
        saved_at = clock()
        wait_seconds: float | None = None
        while True:
            if way is None or self._glances or not await self._pour(way, digesting):
                pieces = await source.read(wait_seconds)
                if pieces is not None:
                    if not pieces:
                        return
                    await self._take(pieces, room, digesting)
            if not self._saves:
                continue
            unsaved = self._start + self._received - self.upload.offset
            wait_seconds = max(0.0, saved_at + pace.save_interval_seconds - clock()) if unsaved else None
            if unsaved >= pace.save_interval_bytes or wait_seconds == 0.0:
                await self._save_progress(length)
                saved_at, wait_seconds = clock(), None

    async def _pour(self, way: Way, digesting: ChecksumVerifier | None) -> bool:
        """Take what comes straight into the file, for a moment; False where it is better read."""
        source, sink = way
        if (tap := source.tap()) is None:
            return False
        try:
            self._received += sum(map(len, tap.pieces))
            if digesting is not None:
                await digesting.update(tap.pieces)
                await digesting.settle()
            await sink.write(tap.pieces)
            await sink.pour(tap, digesting)
        finally:
            self._received += tap.taken_bytes
            tap.close()
        return True

    async def _take(self, pieces: Sequence[bytes], room: Remaining, digesting: ChecksumVerifier | None) -> None:
        self._received += sum(map(len, pieces))
        if room.bytes is not None and self._received > room.bytes:
            # An overlong body never completes an upload: the client and we disagree on what is being sent.
            raise room.refusal
        if self._glancing is not None:
            await self._glancing.see(pieces)
        if digesting is not None:
            await digesting.update(pieces)
        await self._sink.write(pieces)

    @property
    def _glances(self) -> bool:
        """Whether the next bytes are looked at: then they are read, for what is poured nobody sees."""
        return self._glancing is not None and self._glancing.is_open

    async def _save_progress(self, length: int | None) -> None:
        offset = await self._sink.flush(durable=self._ports.policy.durable_saves)
        # The save that makes offset and length equal waits for the end of the body: one more byte must be refused.
        if offset > self.upload.offset and (offset != length or self._completes is not None):
            now = self._ports.clock()
            after = self.upload.advance(offset, now, self._sink.state)
            after = after.expiring(self._ports.policy.expiry(after, now))
            self.upload = await self._committer.commit(self.upload, after, is_last=False)
            self._has_saved = True

    async def _settle(self, failure: Exception | None, length: int | None) -> Upload:
        """Make safe and record what came, then raise what went wrong, if anything did."""
        if self.upload.is_complete:
            # An empty body on a complete upload: nothing changes, and above all it does not complete once more.
            return self._or_raise(failure)
        end = self._start + self._received
        completes = self._completes
        if completes is None and end == length and not isinstance(failure, StoreError):
            # Every byte and none beyond it: complete even if the client was gone before it heard so.
            failure = None
        if completes and failure is None:
            length, failure = _end_at(end, length)
        try:
            offset = await self._sink.flush(durable=end == length or self._ports.policy.durable_saves)
        except StoreError as error:
            failure, offset = error, self._sink.persisted_offset
            if completes is None and offset == length:
                # All bytes are there but not safe for good. Told "complete", the client would never come back to make
                # it so; one byte less, and it does.
                offset = max(self.upload.offset, offset - 1)
        now = self._ports.clock()
        after = self.upload
        if offset > after.offset:
            after = after.advance(offset, now, self._sink.state)
        elif offset < after.offset and isinstance(failure, BytesMissing):
            # Somebody took bytes away beneath us: the client sends them again, once the record owns up to it.
            after = after.truncate_to(offset, now)
        if length != after.length and length is not None and not isinstance(failure, StoreError):
            after = after.declare_length(length)
        if failure is None and completes is not False and after.offset == after.length:
            after = completed(self._ports, after)
        # Saved once more if nothing came since the last time: that save may have told nobody of its bytes.
        if after is not self.upload or (self._has_saved and self._ports.policy.subscriptions):
            after = after.expiring(self._ports.policy.expiry(after, now))
            self.upload = await self._committer.commit(self.upload, after, is_last=True)
        return self._or_raise(failure)

    def _or_raise(self, failure: Exception | None) -> Upload:
        if failure is not None:
            raise _refusal(failure)
        return self.upload


def _end_at(end: int, length: int | None) -> tuple[int | None, Exception | None]:
    """The length of an upload whose last body ended cleanly at ``end``, or what is wrong with that."""
    return (end, None) if length in (None, end) else (length, InconsistentLength())


def _refusal(failure: Exception) -> Exception:
    """What the client is told: sources know nothing of the protocol."""
    if isinstance(failure, BodyAborted):
        return BodyIncomplete()
    if isinstance(failure, BodyTimeout):
        return ReadTimeout()
    return failure
