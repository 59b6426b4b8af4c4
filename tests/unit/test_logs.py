"""The log's lines: their form, and what never stands in them."""

from __future__ import annotations

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
    """The root logger as it was."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before


def logged(format: Literal["auto", "text", "json"], message: str, level: str = "info", **extra: object) -> str:
    """What one line about ``message`` looks like."""
    stream = io.StringIO()
    logs.configure(format, level, stream)
    LOGGER.info(message, extra=extra)
    return stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    """A line has time, level, event and logger in front, and the facts after them."""
    line = json.loads(logged("json", "worker\nserves", pid=7, name_of_client="Zoë"))
    assert ["timestamp", "level", "event", "logger", "pid", "name_of_client"] == list(line)
    assert ("info", "worker\nserves", 7, "Zoë") == (line["level"], line["event"], line["pid"], line["name_of_client"])
    assert line["timestamp"].endswith("Z")


def test_text_is_for_people() -> None:
    """A line of text ends with the facts as name=value."""
    assert logged("text", "worker serves", pid=7).endswith(" info     worker serves pid=7\n")


def test_auto_is_json_where_nobody_reads_along() -> None:
    """A stream that is no terminal gets JSON."""
    assert json.loads(logged("auto", "x"))


@pytest.mark.parametrize("format", ["text", "json"])
def test_credentials_are_left_out(format: Literal["text", "json"]) -> None:
    """Values that are secret by their name, also within others, and query strings do not reach the log."""
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


def test_a_client_cannot_write_to_the_terminal() -> None:
    """Control characters are spelled out in text, and a line stays one line."""
    line = logged("text", "bad\x1b[2J\nname", metadata="a\rb\u2028")
    assert line.endswith("bad\\x1b[2J\\nname metadata=a\\rb\\u2028\n")


def test_a_traceback_tells_no_values() -> None:
    """What went wrong is told with its traceback, without the values of variables."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    password = "hunter2"
    try:
        raise ValueError("broken")
    except ValueError:
        LOGGER.exception("failed")
    assert password not in stream.getvalue()
    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_lines_bear_the_request() -> None:
    """While a request id is set every line bears it, whoever logs."""
    token = logs.request_id.set("abc123")
    try:
        assert "abc123" == json.loads(logged("json", "x"))["request_id"]
    finally:
        logs.request_id.reset(token)
    assert "request_id" not in json.loads(logged("json", "x"))


def test_the_level_holds_for_everybody() -> None:
    """Below the level nothing is told; of uvicorn and Alembic only what goes wrong, unless debugging."""
    assert "" == logged("json", "x", "warning")
    stream = io.StringIO()
    for level, expected in (("info", 1), ("debug", 2)):
        logs.configure("json", level, stream)
        before = len(stream.getvalue().splitlines())
        logging.getLogger("uvicorn.error").info("Started server process")
        logging.getLogger("alembic.runtime").warning("odd")
        assert expected == len(stream.getvalue().splitlines()) - before
