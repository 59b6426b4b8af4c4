"""The contract of ``Records.search``, as tests that the contract of records inherits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tusd_py.contracts.records import Records
from tusd_py.model.upload import HistoryEntry, Status, Upload
from tusd_py.protocol.headers import format_base64
from tusd_py.protocol.listing import PageKey, UploadFilter

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def listed(
    upload_id: str, name: str = "", *, minutes: int = 0, status: Status = Status.READY, owner: str = ""
) -> Upload:
    """An upload with a name and a declared type, created some minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    header = f"filename {format_base64(name.encode())},filetype {format_base64(b'Image/PNG; x=y')}" if name else None
    history = (HistoryEntry(Status.UPLOADING, at),)
    fields = {"status": status, "owner": owner, "metadata_header": header, "history": history}
    return replace(Upload(id=upload_id, length=1, created_at=at, updated_at=at), **fields)  # type: ignore[arg-type]


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def pages(records: Records, wanted: UploadFilter, limit: int = 2) -> list[str]:
    """The ids of the whole list, read page by page."""
    ids: list[str] = []
    after: PageKey | None = None
    for _ in range(100):
        page = await records.search(wanted, limit, after)
        assert len(page.uploads) <= limit
        ids += [upload.id for upload in page.uploads]
        if page.next is None:
            return ids
        after = page.next
    raise AssertionError("the list has no end")


class SearchContract:
    """``search``: filters, order and pages."""

    async def test_search_newest_first(self, records: Records) -> None:
        """Everything is listed once, the newest upload first; those of one moment by id."""
        for number, status in enumerate(Status):
            await records.insert(listed(f"u{number}", minutes=number // 2, status=status))
        for limit in (1, 2, 3, 7, 8, 9, 100):
            found = await pages(records, UploadFilter(), limit)
            assert found == ["u1", "u0", "u3", "u2", "u5", "u4", "u7", "u6"]
        assert (await records.search(UploadFilter(), 0)).uploads in ([], ())

    async def test_search_by_status_and_time(self, records: Records) -> None:
        """Statuses, and times from one until before another, on every page."""
        for number in range(12):
            status = (Status.READY, Status.FAILED, Status.UPLOADING)[number % 3]
            await records.insert(listed(f"u{number:02}", minutes=number, status=status))
        wanted = UploadFilter(statuses=frozenset({Status.FAILED, Status.READY}))
        assert await pages(records, wanted) == ["u00", "u01", "u03", "u04", "u06", "u07", "u09", "u10"]
        since, before = NOW - timedelta(minutes=9), NOW - timedelta(minutes=3)
        within = replace(wanted, created_from=microseconds(since), created_before=microseconds(before))
        assert await pages(records, within) == ["u04", "u06", "u07", "u09"]
        assert await pages(records, UploadFilter(statuses=frozenset())) == []

    async def test_search_by_owner(self, records: Records) -> None:
        """Of one owner, also with other filters; an empty owner selects those without one."""
        for number in range(6):
            owner, status = ("ada", "bob", "")[number % 3], (Status.READY, Status.FAILED)[number % 2]
            await records.insert(listed(f"u{number}", f"n{number}", minutes=number, owner=owner, status=status))
        assert await pages(records, UploadFilter(owner="ada"), 1) == ["u0", "u3"]
        assert await pages(records, UploadFilter(owner="ada", statuses=frozenset({Status.FAILED})), 1) == ["u3"]
        assert await pages(records, UploadFilter(owner="ada", name_prefix="n0")) == ["u0"]
        assert await pages(records, UploadFilter(owner="nobody")) == []
        assert await pages(records, UploadFilter(owner=""), 1) == ["u2", "u5"]
        assert await pages(records, UploadFilter(owner="", name_prefix="n5"), 1) == ["u5"]

    @pytest.mark.parametrize(
        ("prefix", "found"),
        [
            ("report", ["b", "c", "a"]),
            ("report ", ["b"]),
            ("ü", ["e"]),
            ("%", ["d"]),
            ("_", []),
            ("\N{GRINNING FACE}", ["f"]),
            ("\U0010ffff", []),  # no shown name has a character that is not printable
            ("straße".casefold(), ["h"]),
        ],
    )
    async def test_search_by_name(self, records: Records, prefix: str, found: list[str]) -> None:
        """By the beginning of the name, upper and lower case alike, in the order of the names and of the ids."""
        names = [
            "reports.pdf",
            "Report 1.pdf",
            "report",
            "%x",
            "Über.txt",
            "\N{GRINNING FACE}.png",
            "\U0010ffff",
            "STRASSE",
        ]
        for upload_id, name in zip("abcdefgh", names, strict=True):
            await records.insert(listed(upload_id, name))
        await records.insert(listed("z"))
        order = sorted(found, key=lambda each: (names["abcdefgh".index(each)].casefold(), each))
        assert await pages(records, UploadFilter(name_prefix=prefix), 1) == order

    async def test_search_equal_names(self, records: Records) -> None:
        """Uploads of one name are listed once each, whatever the size of the pages."""
        for number in range(7):
            await records.insert(listed(f"u{number}", "image.jpg", minutes=number))
        wanted = UploadFilter(name_prefix="image")
        assert await pages(records, wanted, 3) == [f"u{number}" for number in range(7)]
        assert await pages(records, replace(wanted, created_before=microseconds(NOW - timedelta(minutes=4))), 3) == [
            "u5",
            "u6",
        ]

    async def test_search_by_grant(self, records: Records) -> None:
        """By the link or the access code with which they were made, newest first, of any owner."""
        for number, grant in enumerate(("code:1", "", "code:1", "link:1")):
            await records.insert(replace(listed(f"u{number}", minutes=number), grant=grant))
        wanted = UploadFilter(grant="code:1")
        assert sorted(await pages(records, wanted)) == ["u0", "u2"]
        assert await pages(records, replace(wanted, statuses=frozenset({Status.EXPIRED}))) == []

    async def test_search_by_type(self, records: Records) -> None:
        """By the declared type without its parameters, and by the one that validation has found since."""
        inserted = listed("a", "x", status=Status.PROCESSING)
        for upload in (inserted, listed("b", minutes=1), listed("c", "y", minutes=2)):
            await records.insert(upload)
        assert await pages(records, UploadFilter(declared_type="image/png")) == ["a", "c"]
        assert await pages(records, UploadFilter(detected_type="image/webp")) == []
        entry = HistoryEntry(Status.PROCESSING, NOW, "", "validation", {"type": "image/webp"})
        saved = await records.update(inserted, replace(inserted, history=(*inserted.history, entry)))
        assert await pages(records, UploadFilter(detected_type="image/webp")) == ["a"]
        # Further saves keep it, by any code that has read the record.
        found = await records.find("a")
        assert found is not None
        await records.update(found, found.expiring(NOW))
        assert await pages(records, UploadFilter(detected_type="image/webp", declared_type="image/png")) == ["a"]
        assert saved.token == 1

    async def test_search_while_uploads_are_added(self, records: Records) -> None:
        """An upload that is created between two pages changes nothing of what the next page has."""
        for number in range(4):
            await records.insert(listed(f"u{number}", minutes=number))
        first = await records.search(UploadFilter(), 2)
        await records.insert(listed("new", minutes=-1))
        second = await records.search(UploadFilter(), 2, first.next)
        assert [upload.id for upload in (*first.uploads, *second.uploads)] == ["u0", "u1", "u2", "u3"]
