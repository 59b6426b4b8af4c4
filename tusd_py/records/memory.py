"""Records in the memory of one process: for tests, and for servers whose uploads need not survive a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from tusd_py.contracts.records import PartOverused, RecordConflict, RecordExists, RecordsUnavailable, UploadPage
from tusd_py.model.jobs import NO_EFFECTS, Effects
from tusd_py.model.upload import Kind, Status, Upload
from tusd_py.protocol.listing import ListedUpload, PageKey, UploadFilter, declared_fields, detected_type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Final uploads in these statuses have no bytes and will not get any.
_WITHOUT_BYTES = (Status.EXPIRED, Status.TERMINATED, Status.FAILED)


class MemoryRecords:
    """Keeps ``Upload`` values in a dictionary. No call awaits, so each is atomic on the event loop."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}
        self._closed = False

    async def insert(self, upload: Upload, effects: Effects = NO_EFFECTS, *, part_uses_max: int = 0) -> None:
        self._refuse_when_closed()
        _refuse_effects(effects)
        recorded = self._uploads.get(upload.id)
        if recorded is not None and not (recorded.has_ended and recorded.token == upload.token - 1):
            raise RecordExists(f"upload {upload.id} is already recorded")
        if part_uses_max and upload.parts:
            uses = Counter(await self.count_part_uses(upload.parts))
            uses.update(upload.parts)
            if max(uses.values()) > part_uses_max:
                raise PartOverused(f"a partial upload is used by final uploads {part_uses_max} times already")
        self._uploads[upload.id] = _with_copied_storage(upload)

    async def find(self, upload_id: str, *, with_parts: bool = True) -> Upload | None:
        self._refuse_when_closed()
        return self._uploads.get(upload_id)

    async def find_all(self, upload_ids: Sequence[str], *, with_parts: bool = True) -> list[Upload | None]:
        self._refuse_when_closed()
        return [self._uploads.get(upload_id) for upload_id in upload_ids]

    async def update(self, before: Upload, after: Upload, effects: Effects = NO_EFFECTS) -> Upload:
        self._refuse_when_closed()
        _refuse_effects(effects)
        assert before.id == after.id, "an update must not change the id"
        recorded = self._uploads.get(before.id)
        if recorded is None or (recorded.offset, recorded.token) != (before.offset, before.token):
            raise RecordConflict(f"another request has changed the record of upload {before.id}")
        saved = _with_copied_storage(replace(after, token=before.token + 1))
        self._uploads[before.id] = saved
        return saved

    async def delete(self, upload: Upload) -> None:
        self._refuse_when_closed()
        recorded = self._uploads.get(upload.id)
        if recorded is not None and recorded.token == upload.token:
            del self._uploads[upload.id]

    async def search(self, wanted: UploadFilter, limit: int, after: PageKey | None = None) -> UploadPage:
        self._refuse_when_closed()
        found = sorted(((_key(u, wanted), u) for u in self._uploads.values() if wanted.matches(_listed(u))), key=_first)
        if not wanted.is_by_name:
            found.reverse()
        if after is not None:
            found = [(key, u) for key, u in found if (key > after if wanted.is_by_name else key < after)]
        page = found[:limit]
        return UploadPage([upload for _, upload in page], page[-1][0] if page and len(found) > limit else None)

    async def page(self, after_id: str, limit: int) -> list[Upload]:
        self._refuse_when_closed()
        has_bytes = (Status.UPLOADING, Status.PROCESSING, Status.READY)
        ids = (u.id for u in self._uploads.values() if u.status in has_bytes and u.id > after_id)
        return [self._uploads[upload_id] for upload_id in sorted(ids)[:limit]]

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        self._refuse_when_closed()
        due = [(u.expires_at, u.id) for u in self._uploads.values() if u.expires_at is not None and u.expires_at <= now]
        return [self._uploads[upload_id] for _, upload_id in sorted(due)[:limit]]

    async def needing_recovery(self, limit: int, after_id: str = "") -> list[Upload]:
        self._refuse_when_closed()
        ids = (u.id for u in self._uploads.values() if _needs_recovery(u) and u.id > after_id)
        return [self._uploads[upload_id] for upload_id in sorted(ids)[:limit]]

    async def finals_waiting(self, part_id: str) -> list[Upload]:
        self._refuse_when_closed()
        waiting = (Status.UPLOADING, Status.PROCESSING)
        found = (u for u in self._uploads.values() if u.status in waiting and part_id in u.parts)
        return sorted(found, key=lambda upload: upload.id)

    async def count_part_uses(self, part_ids: Collection[str]) -> Mapping[str, int]:
        self._refuse_when_closed()
        wanted, living = set(part_ids), (u for u in self._uploads.values() if u.status not in _WITHOUT_BYTES)
        return Counter(part_id for upload in living for part_id in upload.parts if part_id in wanted)

    async def find_empty(self, upload_ids: Collection[str]) -> set[str]:
        self._refuse_when_closed()
        uploads = (self._uploads.get(upload_id) for upload_id in upload_ids)
        return {u.id for u in uploads if u is not None and not u.offset and u.status is Status.UPLOADING}

    async def probe(self) -> None:
        self._refuse_when_closed()

    async def close(self) -> None:
        self._closed = True

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise RecordsUnavailable("the records are closed")


def _refuse_effects(effects: Effects) -> None:
    assert effects == NO_EFFECTS, "events and jobs need a database: the settings allow no subscriptions without one"


def _with_copied_storage(upload: Upload) -> Upload:
    """The upload with a copy of its storage state, as from a database: later changes by the caller are not recorded."""
    if not upload.storage:
        return upload
    state: Mapping[str, object] = MappingProxyType(json.loads(json.dumps(dict(upload.storage))))
    return replace(upload, storage=state)


def _listed(upload: Upload) -> ListedUpload:
    key, declared = declared_fields(upload.metadata_header)
    return ListedUpload(
        id=upload.id,
        status=upload.status,
        owner=upload.owner,
        created_at=(upload.created_at - _EPOCH) // timedelta(microseconds=1),
        name_key=key,
        declared_type=declared,
        detected_type=detected_type(upload.history),
        grant=upload.grant,
    )


def _key(upload: Upload, wanted: UploadFilter) -> Any:
    listed = _listed(upload)
    return (listed.name_key if wanted.is_by_name else listed.created_at), upload.id


def _first(found: tuple[Any, Upload]) -> Any:
    return found[0]


def _needs_recovery(upload: Upload) -> bool:
    is_pending_final = upload.kind is Kind.FINAL and upload.status is Status.UPLOADING
    return (upload.status is Status.PROCESSING and not upload.pending_steps) or is_pending_final
