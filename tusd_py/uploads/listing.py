"""Every upload that a filter selects, read page by page: a list of millions is never in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice

from tusd_py.contracts.records import Records
from tusd_py.model.upload import Upload
from tusd_py.protocol.listing import UploadFilter

#: Without the indexes of lists, which only a server with the API makes, each page reads all records.
_PAGE = 10_000


async def listed(records: Records, wanted: UploadFilter, limit: int | None = None) -> AsyncIterator[Upload]:
    """At most ``limit`` uploads that ``wanted`` selects, in its order."""
    after, left = None, limit
    while left is None or left > 0:
        page = await records.search(wanted, _PAGE if left is None else min(_PAGE, left), after)
        for upload in islice(page.uploads, left):
            yield upload
        if (after := page.next) is None:
            return
        if left is not None:
            left -= len(page.uploads)
