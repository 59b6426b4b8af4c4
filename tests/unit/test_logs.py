"""The format of log lines, and the values that they never contain."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from tusd_py import logs

LOGGER = logging.getLogger("tusd_py.test_logs")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restores the root logger."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before


def logged(format: Literal["auto", "text", "json"], message: str, level: str = "info", **extra: object) -> str:
    """Log ``message`` and return the formatted line."""
    stream = io.StringIO()
    logs.configure(format, level, stream)
    LOGGER.info(message, extra=extra)
    return stream.getvalue()


def test_json_format() -> None:
    """A line is one object: time, level, event and logger, followed by the values in ``extra``."""
    line = json.loads(logged("json", "server\nready", pid=7, name_of_client="Zoë"))
    assert ["timestamp", "level", "event", "logger", "pid", "name_of_client"] == list(line)
    assert ("info", "server\nready", 7, "Zoë") == (line["level"], line["event"], line["pid"], line["name_of_client"])
    assert line["timestamp"].endswith("Z")


def test_text_format() -> None:
    """A line of text ends with the values in ``extra`` as name=value."""
    assert logged("text", "server ready", pid=7).endswith(" info     server ready pid=7\n")


def test_event_stands_in_place_of_the_message() -> None:
    """Our lines have the constant event; other handlers have a message with the values."""
    assert "request" == json.loads(logged("json", "GET '/' was answered 500", event="request", status=500))["event"]
    assert logged("text", "GET '/' was answered 500", event="request", status=500).endswith(" request status=500\n")


def test_auto_format_is_json_without_a_terminal() -> None:
    """A stream that is not a terminal gets JSON."""
    assert json.loads(logged("auto", "x"))


@pytest.mark.parametrize("format", ["text", "json"])
def test_credentials_are_removed(format: Literal["text", "json"]) -> None:
    """Values whose names suggest credentials, also in nested mappings, and query strings are not logged."""
    line = logged(
        format,
        "request",
        Authorization="Basic hunter2",
        headers={"Cookie": "id=hunter2", "X-Auth-Token": "hunter2", "Host": "example.com"},
        path="/files/abc?ticket=hunter2",
    )
    assert "hunter2" not in line
    assert "/files/abc" in line
    assert "example.com" in line


def test_control_characters_are_escaped() -> None:
    """A client cannot control the operator's terminal, and a line stays one line."""
    line = logged("text", "bad\x1b[2J\nname", metadata="a\rb\u2028")
    assert line.endswith("bad\\x1b[2J\\nname metadata=a\\rb\\u2028\n")


def test_invisible_characters_are_escaped_in_json() -> None:
    """A name that reverses the reading direction is shown as it is, and the line has the same value."""
    line = logged("json", "request", path="/gpj\u202eexe.scr", other="😀\U000e0041\u200d")
    assert "gpj\\u202eexe.scr" in line and line.rstrip("\n").isprintable()
    found = json.loads(line)
    assert ("/gpj\u202eexe.scr", "😀\U000e0041\u200d") == (found["path"], found["other"])


def test_traceback_contains_no_values() -> None:
    """A traceback is logged without the values of variables."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    password = "hunter2"
    try:
        raise ValueError("broken")
    except ValueError:
        LOGGER.exception("failed")
    assert password not in stream.getvalue()
    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_request_id_is_added_to_every_line() -> None:
    """While a request id is set, every line of every logger has it."""
    token = logs.request_id.set("abc123")
    try:
        assert "abc123" == json.loads(logged("json", "x"))["request_id"]
    finally:
        logs.request_id.reset(token)
    assert "request_id" not in json.loads(logged("json", "x"))


def test_level_applies_to_libraries() -> None:
    """Lines below the level are dropped; libraries log warnings, or psycopg errors, except at level debug."""
    assert "" == logged("json", "x", "warning")
    stream = io.StringIO()
    for level, expected in (("info", 1), ("debug", 3)):
        logs.configure("json", level, stream)
        before = len(stream.getvalue().splitlines())
        logging.getLogger("uvicorn.error").info("Started server process")
        logging.getLogger("psycopg").warning("error ignored terminating <psycopg.Pipeline [BAD]>")
        logging.getLogger("alembic.runtime").warning("odd")
        assert expected == len(stream.getvalue().splitlines()) - before


def test_signatures_are_not_logged_even_at_debug() -> None:
    """The client of S3 would log each request with its signature, and presigned URLs."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    for name in ("botocore.auth", "botocore.endpoint", "aiobotocore.endpoint"):
        logging.getLogger(name).debug("Signature=hunter2")
        logging.getLogger(name).info("Signature=hunter2")
    assert "hunter2" not in stream.getvalue()


def test_privacy_shortens_addresses_and_leaves_names_out() -> None:
    """With ``log.privacy`` an address of a client is its network, and the name of a file is not logged."""
    stream = io.StringIO()
    logs.configure("json", "info", stream, privacy=True)
    for client in ("192.0.2.77", "2001:db8:1:2::3", "2001:db8:1:2::/64", "unknown"):
        LOGGER.info("upload created", extra={"client": client, "file_name": "diary.txt"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert ["192.0.2.0/24", "2001:db8:1::/48", "2001:db8:1::/48", "unknown"] == [line["client"] for line in lines]
    assert "diary" not in stream.getvalue()


def test_time_has_milliseconds() -> None:
    """The time of a line is in UTC, with milliseconds."""
    record = logging.makeLogRecord({"created": 1_700_000_000.0625})
    assert "2023-11-14T22:13:20.062Z" == json.loads(logs.JsonLines().format(record))["timestamp"]


def test_outage_is_logged_at_first_then_rarely_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is a warning, later ones are counted, and the first success is told."""
    caplog.set_level(logging.INFO)
    now = [0.0]
    outages = logs.Outages("endpoint fails", every_seconds=60, clock=lambda: now[0])
    outages.succeeded(LOGGER, "a")
    for now[0] in (0.0, 1.0, 2.0, 61.0):
        outages.failed(LOGGER, "a", "refused")
    outages.failed(LOGGER, "b", "refused")
    outages.succeeded(LOGGER, "a")
    lines = [(record.message, vars(record)["failing"], vars(record).get("failures")) for record in caplog.records]
    assert lines == [
        ("endpoint fails", "a", 1),
        ("endpoint fails", "a", 3),
        ("endpoint fails", "b", 1),
        ("it works again", "a", None),
    ]


class CountedStream(io.StringIO):
    """A stream that counts how often it is written to."""

    writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


@pytest.mark.anyio
async def test_lines_of_one_turn_are_one_write() -> None:
    """Lines of one turn of the event loop are written together, in order, before the next turn ends."""
    stream = CountedStream()
    logs.configure("json", "info", stream)
    for number in range(3):
        LOGGER.info("line %d", number)
    logs.log_event(LOGGER, "line 3", dict)
    assert "" == stream.getvalue()
    await asyncio.sleep(0)
    assert [f"line {number}" for number in range(4)] == [
        json.loads(line)["event"] for line in stream.getvalue().splitlines()
    ]
    assert 1 == stream.writes


@pytest.mark.anyio
async def test_urgent_lines_and_lines_of_threads_are_written_at_once() -> None:
    """A warning waits for nothing, nor does a line of a thread; both are written after the lines before them."""
    stream = CountedStream()
    logs.configure("text", "info", stream)
    LOGGER.info("one")
    LOGGER.warning("two")
    assert ["one", "two"] == [line.split()[-1] for line in stream.getvalue().splitlines()]
    LOGGER.info("three")
    await asyncio.to_thread(LOGGER.info, "four")
    assert ["three", "four"] == [line.split()[-1] for line in stream.getvalue().splitlines()][2:]


@pytest.mark.anyio
async def test_the_end_of_the_program_loses_no_line() -> None:
    """What the event loop no longer writes is written by ``logging.shutdown``, and when the handler is replaced."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("json", "info", first)
    LOGGER.info("before")
    logs.configure("json", "info", second)
    assert "before" in first.getvalue()
    LOGGER.info("last")
    logging.getLogger().handlers[0].flush()
    assert "last" in second.getvalue()


@pytest.mark.parametrize("format", ["json", "text"])
def test_events_have_the_same_line_with_and_without_a_record(format: Literal["json", "text"]) -> None:
    """``log_event`` writes what ``info`` writes, also with a second handler, which needs a record."""
    values: dict[str, object] = {"upload": "abc", "length": None, "client": "192.0.2.7", "file_name": "ü\n\u202e.txt"}
    lines = []
    for is_alone in (True, False):
        stream = io.StringIO()
        logs.configure(format, "info", stream)
        if not is_alone:
            logging.getLogger().addHandler(logging.NullHandler())
        token = logs.request_id.set("abc123")
        try:
            logs.log_event(LOGGER, "upload created", dict, values)
        finally:
            logs.request_id.reset(token)
        # Without the time.
        lines.append(stream.getvalue()[40:] if format == "json" else stream.getvalue()[24:])
    assert "abc123" in lines[0]
    assert lines[0] == lines[1]


def test_event_that_cannot_be_written_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line must not fail a request whose upload is recorded already: the failure is reported as that of any line."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    stream.close()
    logs.log_event(LOGGER, "upload created", dict, {"upload": "abc"})
    assert "Logging error" in capsys.readouterr().err
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logs.log_event(LOGGER, "upload created", dict, {"upload": "abc"})
    assert "" == capsys.readouterr().err


@pytest.mark.anyio
async def test_lines_that_cannot_be_written_later_raise_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does the turn of the event loop that writes the lines: its exception would be logged, and fail again."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    LOGGER.info("line")
    stream.close()
    await asyncio.sleep(0)
    assert [] == failures
    assert "Logging error" in capsys.readouterr().err


def test_privacy_applies_to_events() -> None:
    """The address is shortened and the name of the file left out."""
    stream = io.StringIO()
    logs.configure("json", "info", stream, privacy=True)
    logs.log_event(LOGGER, "upload created", dict, {"client": "192.0.2.7", "file_name": "x"})
    assert ("192.0.2.0/24", None) == (
        json.loads(stream.getvalue()).get("client"),
        json.loads(stream.getvalue()).get("file_name"),
    )


def test_events_below_the_level_are_dropped() -> None:
    """At level warning, nothing is written."""
    stream = io.StringIO()
    logs.configure("json", "warning", stream)
    logs.log_event(LOGGER, "upload created", dict)
    assert "" == stream.getvalue()
