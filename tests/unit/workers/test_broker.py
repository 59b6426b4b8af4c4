"""What the log says while Redis cannot be reached."""

from __future__ import annotations

import logging

from workers.broker import OutageLines


def test_outage_of_redis_is_one_warning_a_minute() -> None:
    """The critical lines of all consumers become one warning with the reason; other lines are left as they are."""
    now = [100.0]
    lines = OutageLines(lambda: now[0])

    def record(level: int) -> logging.LogRecord:
        message = "Consumer encountered a connection error: %s"
        return logging.LogRecord("x", level, "", 0, message, ("Error 111",), None)

    first, second, other = record(logging.CRITICAL), record(logging.CRITICAL), record(logging.DEBUG)
    assert [True, False, True] == [lines.filter(each) for each in (first, second, other)]
    assert ("WARNING", "Redis cannot be reached, retrying") == (first.levelname, first.getMessage())
    assert "Error 111" == vars(first)["reason"]
    now[0] += 61
    assert lines.filter(record(logging.CRITICAL))
