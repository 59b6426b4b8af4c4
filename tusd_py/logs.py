"""How the log looks: one line an event on standard error, as text or JSON, other libraries' lines among our own.

No credentials: values under their names are dropped, query strings cut off. What is told is the callers' business: a
short message, and its facts in ``extra``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

#: The id of the request that is being answered; every line that is logged meanwhile bears it.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: What never reaches the log, whatever the name is called around it.
_SECRET = ("authorization", "cookie", "password", "secret", "token", "query")
#: Where a query string may hide; tickets and signatures travel in it.
_ADDRESSES = ("uri", "url", "path", "target", "location")
#: What every record has; everything else in it came as ``extra``. uvicorn adds a message in colours.
_ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


def configure(format: Literal["auto", "text", "json"], level: str, stream: TextIO) -> None:
    """Send every log line of this process to ``stream``. ``auto`` is text on a terminal, JSON elsewhere."""
    as_text = format == "text" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # What they tell of starting, stopping and migrating, our own lines tell; what goes wrong in them is still told.
    for chatty in ("uvicorn", "alembic", "dramatiq"):
        logging.getLogger(chatty).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)


class JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": _timestamp(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """A line for people: when, how bad, what, and its facts; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        said = [_timestamp(record), f"{record.levelname.lower():<8}", printable(record.getMessage())]
        said += [f"{key}={printable(str(value))}" for key, value in facts(record).items()]
        line = " ".join(said)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def facts(record: logging.LogRecord) -> dict[str, object]:
    """What the record tells beside its message, without what is secret."""
    told = {key: value for key, value in vars(record).items() if key not in _ORDINARY}
    if request_id.get():
        told.setdefault("request_id", request_id.get())
    return without_credentials(told)


def without_credentials(values: Mapping[str, object]) -> dict[str, object]:
    """The values without those that are secret by their name, and addresses without their query."""
    kept: dict[str, object] = {}
    for key, value in values.items():
        lowered = key.lower()
        if any(secret in lowered for secret in _SECRET):
            continue
        if lowered in _ADDRESSES and isinstance(value, str):
            kept[key] = value.partition("?")[0]
        elif isinstance(value, Mapping):
            kept[key] = without_credentials(value)
        else:
            kept[key] = value
    return kept


def printable(text: str) -> str:
    """The text with control characters spelled out: a client must not write to the operator's terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
