"""The contract of records, as tests to inherit. A backend says how it is opened and how a test reads its medium."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contracts.searches import SearchContract
from tusd_py.contracts.records import PartOverused, RecordConflict, RecordExists, Records, RecordsUnavailable
from tusd_py.model.upload import Kind, Status, Upload

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def an_upload(upload_id: str = "a", *, length: int | None = 100, **fields: object) -> Upload:
    """An unfinished upload as creation makes it, with other values in ``fields``."""
    return replace(Upload(id=upload_id, length=length, created_at=NOW, updated_at=NOW), **fields)  # type: ignore[arg-type]  # names are checked by replace


def a_full_upload() -> Upload:
    """An upload in which no field has its default, with values that clients and stores may send."""
    begun = an_upload(
        "Zz-09_~.%2F",
        length=2**63 - 1,
        kind=Kind.FINAL,
        token=7,
        metadata_header="filename \xff\xe9, broken ===,nul AA==,key ,d29y",
        concat_header="final;/files/p2 http://h/files/p1 /files/p2",
        parts=("p2", "p1", "p2"),
        owner="Łukasz \N{GRINNING FACE}",
        expires_at=NOW + timedelta(microseconds=1),
        storage={"upload_id": "x", "parts": [[1, '"etag"']], "tail": None, "n": 2**60, "deep": {"é": True, "f": 0.1}},
    )
    moved = replace(begun, offset=2**63 - 1).complete(NOW + timedelta(seconds=1))
    return moved.with_status(Status.REJECTED, NOW + timedelta(seconds=2), 'said "no",\nand \\ meant it')


class RecordsContract(SearchContract, ABC):
    """Inherit as ``class TestX(RecordsContract)``; ``read_directly`` must not use the backend."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    async def open(self, directory: Path) -> Records:
        """Open the records in ``directory``, empty at first."""

    @abstractmethod
    def read_directly(self, records: Records, directory: Path) -> dict[str, tuple[int, int]]:
        """Offset and token of every recorded upload by id, read from the medium without the backend."""

    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[Records]:
        opened = await self.open(tmp_path)
        yield opened
        await opened.close()

    async def test_insert_is_recorded(self, records: Records, tmp_path: Path) -> None:
        """The upload is in the medium when ``insert`` returns, and nothing else is."""
        await records.insert(an_upload("a", offset=5, token=3))
        assert self.read_directly(records, tmp_path) == {"a": (5, 3)}

    async def test_find_unknown_id_is_none(self, records: Records) -> None:
        """``find`` returns ``None`` for every unknown id."""
        await records.insert(an_upload("a"))
        for upload_id in ("", "A", "a ", "%", "a' OR '1'='1", "é", "\N{GRINNING FACE}", "x" * 10_000):
            assert await records.find(upload_id) is None

    @pytest.mark.parametrize("upload", [an_upload(), an_upload(length=None), an_upload(length=0), a_full_upload()])
    async def test_insert_keeps_every_field(self, records: Records, upload: Upload) -> None:
        """The upload found equals the one inserted in every field, with times in UTC."""
        await records.insert(upload)
        found = await records.find(upload.id)
        assert found == upload
        assert found is not None
        times = [
            found.created_at,
            found.updated_at,
            found.expires_at,
            found.completed_at,
            *(s.at for s in found.history),
        ]
        assert {at.utcoffset() for at in times if at is not None} == {timedelta(0)}

    async def test_every_field_that_an_update_changes_is_recorded(self, records: Records) -> None:
        """Whichever changes alone: an update may write only what changes."""
        full = a_full_upload()
        for name in sorted({each.name for each in fields(Upload)} - {"id", "parts", "token"}):
            before = an_upload(name)
            await records.insert(before)
            saved = await records.update(before, replace(before, **{name: getattr(full, name)}))
            assert getattr(saved, name) == getattr(full, name)
            assert await records.find(name) == saved
            again = await records.update(saved, replace(saved, **{name: getattr(before, name)}))
            assert await records.find(name) == again

    async def test_update_saves_every_field(self, records: Records) -> None:
        """``update`` saves every field that may change, and returns the value that is then found."""
        full = a_full_upload()
        before = replace(an_upload(full.id), kind=full.kind, parts=full.parts)
        await records.insert(before)
        saved = await records.update(before, full)
        assert saved == replace(full, token=before.token + 1)
        assert await records.find(full.id) == saved

    async def test_insert_existing_id_raises_record_exists(self, records: Records) -> None:
        """A second upload with the same id is refused and does not change the first."""
        await records.insert(an_upload("a", offset=1))
        with pytest.raises(RecordExists):
            await records.insert(an_upload("a", offset=2, kind=Kind.FINAL, parts=("p",)))
        assert await records.find("a") == an_upload("a", offset=1)
        assert await records.finals_waiting("p") == []

    async def test_insert_replaces_tombstone(self, records: Records) -> None:
        """Only an ended upload gives way, only to the token after its own, with all that belongs to it."""
        alive = an_upload("a", kind=Kind.FINAL, parts=("p",))
        await records.insert(alive)
        with pytest.raises(RecordExists):
            await records.insert(an_upload("a", token=1))
        tombstone = await records.update(alive, alive.with_status(Status.TERMINATED, NOW))
        for token in (0, tombstone.token, tombstone.token + 2):
            with pytest.raises(RecordExists):
                await records.insert(an_upload("a", token=token))
        assert await records.find("a") == tombstone
        again = an_upload("a", token=tombstone.token + 1, parts=())
        await records.insert(again)
        assert await records.find("a") == again
        assert await records.finals_waiting("p") == []
        for earlier in (alive, tombstone):
            with pytest.raises(RecordConflict):
                await records.update(earlier, earlier)

    async def test_refused_call_fails_alone(self, records: Records) -> None:
        """Of many concurrent calls only the conflicting ones fail; all others are done."""
        first = an_upload("a")
        await records.insert(first)
        uploads = [an_upload(f"n{number}") for number in range(20)]
        calls = [records.insert(upload) for upload in uploads]
        calls[10:10] = [records.insert(first)]
        stale = replace(first, token=9)
        outcomes = await asyncio.gather(*calls, records.update(stale, stale), return_exceptions=True)
        assert [type(o) for o in outcomes if o is not None] == [RecordExists, RecordConflict]
        assert await records.find_all([u.id for u in uploads]) == uploads

    async def test_find_all_keeps_order(self, records: Records) -> None:
        """Uploads are returned in the order of the ids, twice for a repeated id, ``None`` for unknown ids."""
        a, b = an_upload("a"), an_upload("b", kind=Kind.FINAL, parts=("a", "a"))
        await records.insert(a)
        await records.insert(b)
        assert await records.find_all(["b", "x", "a", "b"]) == [b, None, a, b]
        assert await records.find_all([]) == []

    async def test_uses_of_parts_are_counted_and_limited(self, records: Records) -> None:
        """Every use counts, of all final uploads that are not expired, terminated or failed; the insert is refused."""
        await records.insert(an_upload("a"))
        uses = {"f1": ("a", "b", "a"), "f2": ("a",), "ended": ("b",) * 4}
        for final_id, parts in uses.items():
            await records.insert(an_upload(final_id, kind=Kind.FINAL, parts=parts), part_uses_max=5)
        ended = await records.find("ended")
        assert ended is not None
        await records.update(ended, ended.with_status(Status.TERMINATED, NOW))
        assert dict(await records.count_part_uses(["a", "b", "c", "a"])) == {"a": 3, "b": 1}
        await records.insert(an_upload("f3", kind=Kind.FINAL, parts=("a", "a")), part_uses_max=5)
        with pytest.raises(PartOverused):
            await records.insert(an_upload("f4", kind=Kind.FINAL, parts=("b", "a")), part_uses_max=5)
        assert await records.find("f4") is None

    async def test_empty_uploads_are_found(self, records: Records) -> None:
        """Of the ids asked: those unfinished and without a byte."""
        await records.insert(an_upload("empty"))
        await records.insert(an_upload("deferred", length=None))
        await records.insert(an_upload("begun", offset=1))
        await records.insert(an_upload("complete", length=0).complete(NOW))
        await records.insert(an_upload("gone").with_status(Status.TERMINATED, NOW))
        await records.insert(an_upload("another"))
        ids = ["empty", "deferred", "begun", "complete", "gone", "unknown"]
        assert await records.find_empty(ids) == {"empty", "deferred"}

    async def test_update_increments_token(self, records: Records, tmp_path: Path) -> None:
        """A saved change has the next token, in the returned value and in the medium."""
        before = an_upload("a", token=4)
        await records.insert(before)
        after = await records.update(before, before.advance(60, NOW))
        assert (after.offset, after.token) == (60, 5)
        assert self.read_directly(records, tmp_path) == {"a": (60, 5)}

    @pytest.mark.parametrize(("upload_id", "offset", "token"), [("a", 10, 0), ("a", 10, 2), ("a", 9, 1), ("b", 10, 1)])
    async def test_update_stale_offset_or_token_raises_record_conflict(
        self, records: Records, tmp_path: Path, upload_id: str, offset: int, token: int
    ) -> None:
        """With a stale token or offset, or an unknown upload, ``update`` changes nothing."""
        await records.insert(an_upload("a", offset=10, token=1))
        before = an_upload(upload_id, offset=offset, token=token)
        with pytest.raises(RecordConflict):
            await records.update(before, replace(before, offset=50))
        assert self.read_directly(records, tmp_path) == {"a": (10, 1)}

    async def test_one_of_fifty_concurrent_updates_wins(self, records: Records, tmp_path: Path) -> None:
        """Of fifty concurrent updates of one upload, one is saved and forty-nine raise ``RecordConflict``."""
        before = an_upload("a")
        await records.insert(before)
        calls = [records.update(before, before.advance(number, NOW)) for number in range(1, 51)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, Upload)]
        assert len(won) == 1
        assert sum(isinstance(outcome, RecordConflict) for outcome in outcomes) == 49
        assert self.read_directly(records, tmp_path) == {"a": (won[0].offset, 1)}

    async def test_concurrent_chains_of_updates_stay_in_order(self, records: Records) -> None:
        """Ten uploads that are advanced in steps at the same time each end at their own last step."""

        async def advance(upload: Upload) -> Upload:
            await records.insert(upload)
            for offset in range(1, 21):
                upload = await records.update(upload, upload.advance(offset, NOW))
                assert await records.find(upload.id) == upload
            return upload

        ended = await asyncio.gather(*(advance(an_upload(f"u{number}")) for number in range(10)))
        assert [(upload.offset, upload.token) for upload in ended] == [(20, 20)] * 10

    async def test_delete_checks_token(self, records: Records, tmp_path: Path) -> None:
        """A record with another token is not deleted; with its own it is, with its parts, and the id is free."""
        final = an_upload("f", kind=Kind.FINAL, parts=("p",))
        await records.insert(final)
        await records.delete(replace(final, token=1))
        assert await records.find("f") == final
        await records.delete(final)
        await records.delete(final)
        assert self.read_directly(records, tmp_path) == {}
        assert await records.finals_waiting("p") == []
        await records.insert(replace(final, parts=("q",)))
        assert await records.find("f") == replace(final, parts=("q",))

    async def test_due_is_ordered_and_bounded(self, records: Records) -> None:
        """``due`` lists uploads that expire now or earlier, oldest first, up to the limit."""
        for upload_id, seconds in (("late", 1), ("now", 0), ("old", -60), ("older", -61)):
            await records.insert(an_upload(upload_id, expires_at=NOW + timedelta(seconds=seconds)))
        await records.insert(an_upload("never"))
        assert [u.id for u in await records.due(NOW, 10)] == ["older", "old", "now"]
        assert [u.id for u in await records.due(NOW, 2)] == ["older", "old"]
        old = await records.find("old")
        assert old is not None
        await records.update(old, old.expiring(None))
        assert [u.id for u in await records.due(NOW, 10)] == ["older", "now"]

    async def test_needing_recovery_is_paged_by_id(self, records: Records) -> None:
        """Uploads in processing are listed by id in pages; those that are ready or have pending steps are not."""
        complete = an_upload(length=0).complete(NOW)
        for upload_id in ("c", "a", "b", "d"):
            await records.insert(replace(complete, id=upload_id))
        await records.insert(replace(complete, id="ready").with_status(Status.READY, NOW))
        await records.insert(replace(complete, id="awaited").hand_to_workers(("validation",), NOW))
        await records.insert(an_upload("uploading"))
        assert [u.id for u in await records.needing_recovery(3)] == ["a", "b", "c"]
        assert [u.id for u in await records.needing_recovery(3, after_id="c")] == ["d"]
        assert await records.needing_recovery(3, after_id="d") == []

    async def test_pages_have_all_living_uploads_by_id(self, records: Records) -> None:
        """``page`` returns those in status uploading, processing and ready, ordered by id, after a given one."""
        for name in ("d", "b", "a", "c"):
            await records.insert(an_upload(name))
        ended = await records.find("b")
        assert ended is not None
        await records.update(ended, ended.with_status(Status.EXPIRED, NOW))
        assert ["a", "c"] == [upload.id for upload in await records.page("", 2)]
        assert ["d"] == [upload.id for upload in await records.page("c", 2)]
        assert [] == await records.page("d", 2)

    async def test_finals_waiting_are_those_not_done(self, records: Records) -> None:
        """``finals_waiting`` lists the unfinished final uploads of a part, once each, with all their parts."""
        waiting = an_upload("f1", length=0, kind=Kind.FINAL, parts=("p", "q", "p"))
        joining = replace(waiting, id="f2", parts=("q", "p")).complete(NOW)
        done = replace(joining, id="f3").with_status(Status.READY, NOW)
        other = replace(waiting, id="f4", parts=("q",))
        for upload in (done, joining, other, waiting, an_upload("p", kind=Kind.PARTIAL)):
            await records.insert(upload)
        assert await records.finals_waiting("p") == [waiting, joining]
        assert await records.finals_waiting("unknown") == []

    async def test_later_change_of_storage_mapping_is_not_recorded(self, records: Records) -> None:
        """The record keeps the storage state of the call, whatever the caller does with the mapping later."""
        state: dict[str, object] = {"parts": [1]}
        await records.insert(an_upload("a", storage=state))
        state["parts"] = [1, 2]
        found = await records.find("a")
        assert found is not None
        assert found.storage == {"parts": [1]}

    async def test_cancelled_call_is_done_or_not(self, records: Records, tmp_path: Path) -> None:
        """A cancelled update is saved or not, never in part, and does not affect the other callers."""
        uploads = [an_upload(f"u{number}") for number in range(40)]
        await asyncio.gather(*(records.insert(upload) for upload in uploads))
        calls = [asyncio.ensure_future(records.update(u, u.advance(7, NOW))) for u in uploads]
        for turn in range(20):
            calls[turn].cancel()
            if turn % 5 == 0:
                await asyncio.sleep(0)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, Upload) for outcome in outcomes[20:])
        recorded = self.read_directly(records, tmp_path)
        assert {recorded[u.id] for u in uploads[20:]} == {(7, 1)}
        assert {recorded[u.id] for u in uploads} <= {(0, 0), (7, 1)}

    async def test_closed_records_raise_records_unavailable(self, tmp_path: Path) -> None:
        """``probe`` of open records returns; after ``close``, which may be called twice, every call raises."""
        records = await self.open(tmp_path)
        await records.probe()
        await records.close()
        await records.close()
        for call in (records.probe(), records.find("a"), records.insert(an_upload()), records.due(NOW, 1)):
            with pytest.raises(RecordsUnavailable):
                await call
