"""Moves the body of one request into the store, and saves the record at intervals while the body arrives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from tusd_py.cancellation import finish_despite_cancel
from tusd_py.contracts.body import BodyAborted, BodyError, BodyTimeout, RequestBody
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import BytesMissing, Sink, StoreError
from tusd_py.contracts.zero_copy import ZeroCopyBody, ZeroCopySink
from tusd_py.model.upload import Status, Upload
from tusd_py.protocol import completion
from tusd_py.protocol.access_errors import CredentialsRevoked
from tusd_py.protocol.completion import BodyEnd, BodyOutcome, Raises
from tusd_py.protocol.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    InconsistentLength,
    ReadTimeout,
    TusError,
    TypeNotAllowed,
    UploadInterrupted,
)
from tusd_py.protocol.requests import BodyInfo
from tusd_py.protocol.rules import Remaining
from tusd_py.uploads.body.checksum import ChecksumVerifier
from tusd_py.uploads.body.committer import Committer
from tusd_py.uploads.body.save_schedule import GATHERED_BYTES, SaveSchedule
from tusd_py.uploads.body.sniffer import sniffer_for
from tusd_py.uploads.ports import Ports
from tusd_py.uploads.processing.finish import completed

log = logging.getLogger(__name__)

#: Smaller bodies are read in pieces: acquiring the socket costs more than copying them.
ZERO_COPY_BYTES_MIN = 256 * 1024

ZeroCopyPair = tuple[ZeroCopyBody, ZeroCopySink]


class BodyReceiver:
    """Receives one body for one upload. ``upload`` always equals its record.

    ``is_last`` is what the request says of the upload's end, as in ``Append``: with None the length decides.
    """

    def __init__(self, ports: Ports, upload: Upload, committer: Committer, is_last: bool | None = None) -> None:
        self.upload = upload
        self._ports = ports
        self._committer = committer
        self._is_last = is_last
        self._start = upload.offset
        self._received = 0  # bytes of this body
        self._saves_progress = True  # while the body arrives
        self._has_saved = False  # before the body's end
        self._is_refused = False  # what was not saved is not part of the upload
        self._sink: Sink = ports.store.open(upload)
        self._sniffer = sniffer_for(ports, upload)

    async def run(self, body: RequestBody, info: BodyInfo, remaining: Remaining, length: int | None) -> Upload:
        """Store the body and return the upload, complete if these were its last bytes.

        ``length`` is the upload's length once this request succeeds. It is recorded only at the end of the body, so
        that a refused request declares none. Raises ``TusError``, ``StoreError`` or ``RecordConflict``; the bytes that
        arrived before are recorded then. A body with a checksum is all or nothing instead, unless ``info`` says that a
        cut keeps its bytes (``keep_partial``) or that a mismatch ends the upload (``discard_on_mismatch``, which is
        saved while it runs like any other body). Cancelled, it records what arrived before the cancellation is raised.
        """
        try:
            return await self._receive(body, info, remaining, length)
        except UploadInterrupted:
            raise  # maybe because the lock is lost: another request may write already
        except TusError:
            self._is_refused = True
            raise

    async def _receive(self, body: RequestBody, info: BodyInfo, remaining: Remaining, length: int | None) -> Upload:
        verifier = ChecksumVerifier(info) if info.is_verified else None
        keeps_partial = verifier is None or info.keep_partial
        self._saves_progress = verifier is None or info.discard_on_mismatch
        failure: Exception | None = None
        try:
            await self._pump(
                body, remaining, verifier, length, info.length, self._zero_copy_pair(body, info, remaining)
            )
            if self._sniffer is not None and (self._is_last or self._start + self._received == length):
                await self._sniffer.check()
            if info.length is not None and self._received != info.length:
                failure = BodyAborted()
            elif verifier is not None:
                await verifier.verify(body.trailers())
            if self._ports.access_ports is not None and completion.ends_upload(
                _outcome(failure), self._is_last, length, self._start + self._received
            ):
                await self._committer.ensure_not_revoked()
        except (BodyError, StoreError) as error:
            # Its traceback refers to this frame: the cycle would keep the whole request in memory for a long time.
            failure = error.with_traceback(None)
        except TusError as error:
            if error is remaining.refusal or isinstance(error, ChecksumMismatch | CredentialsRevoked | TypeNotAllowed):
                raise
            failure = error
        except asyncio.CancelledError:
            if keeps_partial:
                await finish_despite_cancel(self._finish(BodyAborted(), length))
            raise
        if failure is not None and not keeps_partial:
            raise _refusal(failure)
        try:
            return await self._finish(failure, length)
        except asyncio.CancelledError:
            # Repeat it: a save that was running has either been made, and then this one conflicts, or it has not.
            await finish_despite_cancel(self._finish(failure, length))
            raise

    async def end_at_length(self) -> Upload:
        """Complete an upload that a request of the draft left open at its length.

        Raises ``StoreError`` or ``RecordConflict``.
        """
        return await self._finish(None, self.upload.length)

    async def invalidate(self, reason: str) -> None:
        """Mark the upload failed, so that no request can continue it. Does nothing to a complete one."""
        if not self.upload.is_complete:
            now = self._ports.clock()
            await self._commit(self.upload.with_status(Status.FAILED, now, reason), now, is_last=True)

    async def reject(self, reason: str) -> None:
        """Mark the upload rejected and delete its bytes. Its record stays, so that its client learns the reason."""
        # Close first: a write that is still queued would bring the bytes back.
        await self.close()
        now = self._ports.clock()
        after = self.upload.truncate_to(0, now) if self.upload.offset else self.upload
        after = after.with_status(Status.REJECTED, now, reason)
        after = after.expiring(self._ports.policy.expiry(after, now))
        self.upload = await self._committer.commit(self.upload, after, is_last=True)
        await self._ports.store.delete(self.upload)

    async def close(self) -> None:
        """Release the store's resources. Call it in any case."""
        try:
            if self._is_refused and self._start + self._received > self.upload.offset:
                await self._discard()
        finally:
            await self._sink.close()

    async def _discard(self) -> None:
        """Remove the bytes of a refused body: they count for no quota, so clients must not fill the disk with them."""
        self._is_refused = False
        try:
            recorded = await self._ports.records.find(self.upload.id)
            if recorded is not None and recorded.token == self.upload.token:
                await self._sink.discard(self.upload.offset)
        except (RecordsError, StoreError) as failure:
            log.warning("upload %s: could not remove the bytes of a refused body: %s", self.upload.id, failure)

    def _zero_copy_pair(self, body: RequestBody, info: BodyInfo, remaining: Remaining) -> ZeroCopyPair | None:
        """Body and sink if zero-copy may be used: the length is known, so that the body cannot bring too many bytes."""
        if info.length is None or info.length < ZERO_COPY_BYTES_MIN:
            return None
        if remaining.bytes is not None and info.length > remaining.bytes:
            return None
        # Once for a body: these checks of an object's methods take longer than receiving a small piece.
        if isinstance(body, ZeroCopyBody) and isinstance(self._sink, ZeroCopySink):
            return body, self._sink
        return None

    async def _pump(
        self,
        body: RequestBody,
        remaining: Remaining,
        verifier: ChecksumVerifier | None,
        length: int | None,
        expected: int | None,
        pair: ZeroCopyPair | None,
    ) -> None:
        """Receive the body, of ``expected`` bytes, to its clean end, saving the record as the policy says."""
        clock = asyncio.get_running_loop().time
        schedule: SaveSchedule | None = None
        wait_seconds: float | None = None
        bytes_min = 1 if self._saves_progress else GATHERED_BYTES
        while True:
            if pair is None or self._is_sniffing or not await self._transfer(pair, verifier):
                pieces = await body.read(wait_seconds, self._gathered(bytes_min, remaining))
                if pieces is not None:
                    if not pieces:
                        return
                    await self._write(pieces, remaining, verifier)
            if not self._saves_progress:
                continue
            if self._received == expected:
                # Only the end is missing. A small body gets here without the schedule.
                wait_seconds, bytes_min = None, 1
                continue
            schedule = schedule or SaveSchedule(self._ports.policy, clock(), self._committer.reports_progress)
            unsaved = self._start + self._received - self.upload.offset
            wait_seconds, bytes_min = schedule.wait_seconds(unsaved, clock()), schedule.bytes_min(unsaved)
            if wait_seconds == 0.0:
                await self._save_progress(length)
                schedule.saved(clock())
                wait_seconds, bytes_min = None, 1

    async def _transfer(self, pair: ZeroCopyPair, verifier: ChecksumVerifier | None) -> bool:
        """Move one burst from socket to file. False if the next bytes are better read."""
        body, sink = pair
        if not sink.can_transfer or (reader := body.acquire_socket()) is None:
            return False
        try:
            self._received += sum(map(len, reader.pieces))
            observer = None
            if verifier is not None:
                await verifier.update(reader.pieces)
                observer = await verifier.observer()
            await sink.write(reader.pieces)
            await sink.transfer(reader, observer)
        finally:
            self._received += reader.bytes_read
            reader.close()
        return True

    async def _write(self, pieces: Sequence[bytes], remaining: Remaining, verifier: ChecksumVerifier | None) -> None:
        self._received += sum(map(len, pieces))
        if remaining.bytes is not None and self._received > remaining.bytes:
            # A body that is too long never completes an upload: client and server disagree on what is being sent.
            raise remaining.refusal
        if self._sniffer is not None:
            await self._sniffer.feed(pieces)
        if verifier is not None:
            await verifier.update(pieces)
        await self._sink.write(pieces)

    def _gathered(self, bytes_min: int, remaining: Remaining) -> int:
        """How many bytes may gather before they are looked at: no more are accepted than the upload may have."""
        if self._is_sniffing:
            return 1
        return bytes_min if remaining.bytes is None else min(bytes_min, remaining.bytes - self._received + 1)

    @property
    def _is_sniffing(self) -> bool:
        """Whether the next bytes must be read, because the sniffer has to see them."""
        return self._sniffer is not None and self._sniffer.needs_more

    async def _save_progress(self, length: int | None) -> None:
        offset = await self._sink.flush(durable=self._ports.policy.durable_saves, more_follows=True)
        # The save that makes offset and length equal waits for the end of the body: one more byte must be refused.
        if offset > self.upload.offset and (offset != length or self._is_last is not None):
            now = self._ports.clock()
            await self._commit(self.upload.advance(offset, now, self._sink.state), now, is_last=False)
            self._has_saved = True
            await self._committer.ensure_permitted()

    async def _finish(self, failure: Exception | None, length: int | None) -> Upload:
        """Persist and record what arrived, then raise ``failure`` or what ``completion.decide`` says instead."""
        if self.upload.is_complete:
            # An empty body on a complete upload: nothing changes, and it does not complete once more.
            return self._raise_or_return(failure)
        received = self._start + self._received
        last = completion.ends_upload(_outcome(failure), self._is_last, length, received)
        is_flushed = True
        try:
            stored = await self._sink.flush(durable=last or self._ports.policy.durable_saves)
        except StoreError as error:
            failure, is_flushed, stored = error, False, self._sink.persisted_offset
        decision = completion.decide(
            BodyEnd(_outcome(failure), self._is_last, length, self.upload.offset, received, stored, is_flushed)
        )
        now = self._ports.clock()
        after = self.upload
        if decision.offset > after.offset or (decision.offset == after.offset and self._has_moved(is_flushed)):
            after = after.advance(decision.offset, now, self._sink.state)
        elif decision.offset < after.offset:
            after = after.truncate_to(decision.offset, now)
        if decision.length is not None and decision.length != after.length:
            after = after.declare_length(decision.length)
        if decision.is_complete:
            after = completed(self._ports, after)
        # Saved once more if no byte arrived since the last save: that save may not have reported its bytes.
        if after is not self.upload or (self._has_saved and self._ports.policy.subscriptions):
            await self._commit(after, now, is_last=True)
        if decision.raises is Raises.INCONSISTENT_LENGTH:
            raise InconsistentLength
        return self._raise_or_return(failure if decision.raises is Raises.CAUSE else None)

    def _has_moved(self, is_flushed: bool) -> bool:
        """Whether a flush without new bytes has moved the bytes: S3 makes one object of parts at the end."""
        return is_flushed and self._sink.state != self.upload.storage

    async def _commit(self, after: Upload, now: datetime, *, is_last: bool) -> None:
        """Record ``after`` with its new time of expiry, and report that to the store."""
        after = after.expiring(self._ports.policy.expiry(after, now))
        self.upload = await self._committer.commit(self.upload, after, is_last=is_last)
        await self._sink.committed()

    def _raise_or_return(self, failure: Exception | None) -> Upload:
        if failure is not None:
            raise _refusal(failure)
        return self.upload


def _outcome(failure: Exception | None) -> BodyOutcome:
    if failure is None:
        return BodyOutcome.WHOLE
    if isinstance(failure, BytesMissing):
        return BodyOutcome.BYTES_MISSING
    return BodyOutcome.STORE_FAILED if isinstance(failure, StoreError) else BodyOutcome.CUT


def _refusal(failure: Exception) -> Exception:
    """The error for the client: request bodies know nothing of the protocol."""
    if isinstance(failure, BodyAborted):
        return BodyIncomplete()
    if isinstance(failure, BodyTimeout):
        return ReadTimeout()
    return failure
