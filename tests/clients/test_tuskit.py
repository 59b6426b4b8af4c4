"""The requests of TUSKit (iOS), which ignores the status of an upload request and trusts any ``Upload-Offset``.

So every response must have the true offset or none, and a client that only follows offsets must complete.
"""

from __future__ import annotations

import pytest

from tests.support.client import BODY, create, request
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stored import assert_stored, head

pytestmark = pytest.mark.timeout(60)

# TUSKit spells the name of the version header this way.
TUS = {"TUS-Resumable": "1.0.0"}
CHUNK_BYTES = 500 * 1024


@pytest.mark.anyio
async def test_client_that_follows_every_offset_completes(server: RunningServer) -> None:
    """After two lost responses the client starts from 0; the offset in the refusal (409) lets it complete."""
    data = content(40, 3 * MIB)

    url = await create(server.url, len(data), TUS)
    for offset in (0, CHUNK_BYTES):
        lost = data[offset : offset + CHUNK_BYTES]
        await request("PATCH", url, {**TUS, **BODY, "Upload-Offset": str(offset)}, lost)
    believed, answers = 0, []
    while believed < len(data):
        piece = data[believed : believed + CHUNK_BYTES]
        answer = await request("PATCH", url, {**TUS, **BODY, "Upload-Offset": str(believed)}, piece)
        answers.append(answer)
        # TUSAPI.upload: an offset that has not moved is its only error.
        assert answer.offset not in (None, believed), answer
        assert answer.offset is not None
        believed = answer.offset
    assert (answers[0].status, answers[0].offset) == (409, 2 * CHUNK_BYTES)
    assert [answer.status for answer in answers[1:]] == [204] * 5
    assert_stored(server, url, data)


REFUSED = {
    "wrong media type": ({**TUS, "Content-Type": "application/json", "Upload-Offset": "1000"}, 10, 415),
    "wrong version": ({"TUS-Resumable": "0.2.2", **BODY, "Upload-Offset": "1000"}, 10, 412),
    "malformed offset": ({**TUS, **BODY, "Upload-Offset": "1e3"}, 10, 400),
    "too long": ({**TUS, **BODY, "Upload-Offset": "1000"}, 5000, 413),
    "ahead": ({**TUS, **BODY, "Upload-Offset": "2000"}, 10, 409),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.anyio
async def test_refusals_have_the_true_offset_or_none(server: RunningServer, case: str) -> None:
    """A refusal has the true offset or none, and changes nothing."""
    data = content(41, 4000)
    headers, body_bytes, status = REFUSED[case]

    url = await create(server.url, len(data), TUS)
    await request("PATCH", url, {**TUS, **BODY, "Upload-Offset": "0"}, data[:1000])
    answer = await request("PATCH", url, headers, content(42, body_bytes))
    assert answer.status == status
    assert answer.offset in (None, 1000)
    assert head(server, url)[1]["upload-offset"] == "1000"


@pytest.mark.anyio
async def test_head_of_known_and_unknown_uploads_200_404(server: RunningServer) -> None:
    """HEAD has the length and the offset; for an unknown upload it is 404 without an offset."""
    url = await create(server.url, 1000, TUS)
    other = url[:-1] + ("1" if url[-1] == "0" else "0")
    known, unknown = await request("HEAD", url, TUS), await request("HEAD", other, TUS)
    assert (known.status, known.headers["upload-length"], known.offset) == (200, "1000", 0)
    assert (unknown.status, unknown.offset) == (404, None)
