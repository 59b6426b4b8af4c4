"""Refuse a store that is not the one of the records: to it, every upload would look as if its bytes were lost.

A server with another bucket, prefix or directory than the others, or whose volume is not mounted, would set unfinished
uploads back to nothing. And one with another database would remove everything that its own records do not name.
"""

from __future__ import annotations

import asyncio
from secrets import token_hex

from tusd_py.contracts.store_marks import ForeignStore, MarkedStore, StoreMarks

_MARK_BYTES = 16
_POLL_SECONDS = 0.1
_ADVICE = "correct the settings or mount the volume; tusd-py adopt-store declares that this is the store from now on"


async def verify_store(
    store: MarkedStore,
    marks: StoreMarks,
    place: str,
    *,
    is_store_shared: bool,
    is_database_shared: bool,
    wait_seconds: float,
) -> str:
    """Check that ``store`` has the mark that ``marks`` knows, and return it; on first use give both the same one.

    Another process may take ``wait_seconds`` between adding the mark to the database and to the store. ``place``
    describes the store to the operator. Raises ``ForeignStore``, and what the two raise.
    """
    known, found = await marks.find(), await store.read_mark()
    if known and known == found:
        return known
    has_bytes = await marks.has_bytes()
    if not known:
        # Maintenance would remove everything in it. With SQLite it may be a trial whose database was removed.
        is_new = is_store_shared and is_database_shared and not has_bytes
        if sentence := difference(place, known, found, is_new, True):
            raise ForeignStore(sentence)
        offered = found or token_hex(_MARK_BYTES)
        known = await marks.find_or_add(offered)
        if not found and known == offered:
            await store.write_mark(known)
            return known
    # One machine, and no byte was recorded: the operator has chosen another place before the first upload.
    is_open = not is_database_shared and not has_bytes
    for _ in range(0 if found or is_open else round(wait_seconds / _POLL_SECONDS)):
        await asyncio.sleep(_POLL_SECONDS)
        if found := await store.read_mark():
            break
    if sentence := difference(place, known, found, False, is_open):
        raise ForeignStore(sentence)
    if not found:
        await store.write_mark(known)
    return known


def difference(place: str, known: str, found: str, is_new: bool, is_open: bool) -> str:
    """The sentence for the operator if the store has not the mark that the database knows; empty if it may be used.

    ``is_new`` says that the database has no bytes and may not take over the store of another one; ``is_open`` that it
    may mark a store without a mark.
    """
    if known == found:
        return ""
    if not known:
        return f"{place} has the uploads of another database, and this one has none: {_ADVICE}" if is_new else ""
    if not found:
        return "" if is_open else f"{place} is not where the uploads of this database are: {_ADVICE}"
    return f"{place} has the uploads of another database: {_ADVICE}"


async def adopt_store(store: MarkedStore, marks: StoreMarks) -> None:
    """Declare that ``store`` has the bytes of the records from now on. Servers with another store refuse then."""
    mark = token_hex(_MARK_BYTES)
    await store.write_mark(mark)
    await marks.replace(mark)
