"""The requests of tus-java-client, byte for byte: ``Expect: 100-continue``, chunked, 10 MiB per request.

Java is not needed: the test sends what ``TusUploader`` and ``HttpURLConnection`` send.
"""

from __future__ import annotations

import pytest

from tests.support.client import BODY, TUS, Connection, create
from tests.support.content import MIB, content
from tests.support.server import RunningServer
from tests.support.stored import assert_stored, head

pytestmark = pytest.mark.timeout(60)

REQUEST_BYTES = 10 * MIB
CHUNK_BYTES = 2 * MIB


def expecting(offset: int, method: str) -> dict[str, str]:
    """The headers of one upload request. Old Java runtimes have no PATCH and override POST."""
    override = {"X-HTTP-Method-Override": "PATCH"} if method == "POST" else {}
    chunked = {"Expect": "100-continue", "Transfer-Encoding": "chunked"}
    return {**TUS, **BODY, **override, "Upload-Offset": str(offset), **chunked}


async def send_chunked(connection: Connection, data: memoryview) -> None:
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        await connection.send(b"%X\r\n" % len(chunk))
        await connection.send(chunk)
        await connection.send(b"\r\n")
    await connection.send(b"0\r\n\r\n")


@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.anyio
async def test_chunked_requests_with_expect_100_204(server: RunningServer, method: str) -> None:
    """Each request gets 100 Continue before its body, and 204 with the offset it reached."""
    data = content(30, 2 * REQUEST_BYTES + 5 * MIB + 1)

    url = await create(server.url, len(data))
    connection = await Connection.open(url)
    answers = []
    for offset in range(0, len(data), REQUEST_BYTES):
        await connection.send_head(method, url, expecting(offset, method))
        answers.append(await connection.answer(interim=True))
        await send_chunked(connection, data[offset : offset + REQUEST_BYTES])
        answers.append(await connection.answer())
    connection.close()
    ends = [REQUEST_BYTES, 2 * REQUEST_BYTES, len(data)]
    expected = [pair for end in ends for pair in ((100, None), (204, end))]
    assert [(answer.status, answer.offset) for answer in answers] == expected
    assert_stored(server, url, data)


@pytest.mark.anyio
async def test_wrong_offset_instead_of_100_continue_409(server: RunningServer) -> None:
    """A request at a wrong offset is refused before its body, so the client never sends it."""
    data = content(31, 1000)

    url = await create(server.url, len(data))
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, expecting(7, "PATCH"))
    answer = await connection.answer(interim=True)
    connection.close()
    assert (answer.status, answer.offset) == (409, 0)
    assert head(server, url)[1]["upload-offset"] == "0"
