"""How soon a client can resume: after its connection was closed, and while its old connection hangs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.figures import Metric
from benchmarks.scenarios.contract import Bench, Scenario
from benchmarks.servers import Server
from benchmarks.tus import Answer, Client, UnexpectedAnswer

_LENGTH = 64 << 20
_SENT = 16 << 20
_REST = bytes(64 << 10)
_RETRY_SECONDS = 0.01
_TIMEOUT_SECONDS = 5.0

_LOST = Metric("lost_kib", "bytes that had been sent and must be sent again", "KiB", "lower", 1)
_CUT_METRICS = (Metric("resume_ms", "from the cut to the next PATCH accepted", "ms", "lower", 1), _LOST)
_TAKEOVER_METRICS = (
    Metric("takeover_ms", "from the second client's HEAD to its PATCH accepted", "ms", "lower", 1),
    # A server that discards what the first client sent is fast, but loses bytes.
    _LOST,
)


def _cut(server: Server, bench: Bench) -> Mapping[str, float]:
    """Send a quarter of an upload, close the connection, and resume over another one."""
    path, first = _started(server)
    with Client(server.url) as second:
        # Connect before the first connection is closed, so that the handshake is not measured.
        second.connection.connect()
        started = time.perf_counter()
        first.close()
        offset = _resume(second, path)
        elapsed = time.perf_counter() - started
        second.delete(path)
    return {"resume_ms": elapsed * 1e3, "lost_kib": (_SENT - offset) / 1024}


def _takeover(server: Server, bench: Bench) -> Mapping[str, float]:
    """Send a quarter of an upload and leave the connection open and silent; another client resumes."""
    path, first = _started(server)
    with Client(server.url) as second:
        second.connection.connect()
        started = time.perf_counter()
        offset = _resume(second, path)
        elapsed = time.perf_counter() - started
        first.close()
        second.delete(path)
    return {"takeover_ms": elapsed * 1e3, "lost_kib": (_SENT - offset) / 1024}


def _started(server: Server) -> tuple[str, Client]:
    """Start a PATCH, send a quarter of its body, and give the server time to read it."""
    with Client(server.url) as maker:
        path = maker.create(_LENGTH)
    client = Client(server.url)
    client.start_append(path, 0, _LENGTH)
    client.connection.sock.sendall(bytes(_SENT))
    time.sleep(0.05)
    return path, client


def _resume(client: Client, path: str) -> int:
    """HEAD, then PATCH at that offset, until a PATCH is accepted. Returns the offset of that PATCH."""
    client.connection.timeout = _TIMEOUT_SECONDS
    client.connection.sock.settimeout(_TIMEOUT_SECONDS)
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    answer: Answer | None = None
    while time.monotonic() < deadline:
        try:
            answer = client.head(path)
            if answer.status == 200 and answer.offset is not None:
                offset = answer.offset
                answer = client.append(path, offset, _REST)
                if answer.status == 204:
                    return offset
        except TimeoutError:
            break
        time.sleep(_RETRY_SECONDS)
    raise UnexpectedAnswer(f"not within {_TIMEOUT_SECONDS:.0f} s; last answer: {answer and answer.status}")


CUT = Scenario("resume", "Resuming after a cut connection", _CUT_METRICS, measure=_cut, warm_up=_cut)
TAKEOVER = Scenario(
    "takeover", "Taking over from a connection that hangs", _TAKEOVER_METRICS, measure=_takeover, warm_up=_cut
)
