"""The format of the log: one line per record, as text or JSON, including the records of libraries.

Callers log a short constant message and put values into ``extra``. A value named ``event`` is shown in place of a
message that repeats values for the handlers of an application. Values whose names suggest credentials are dropped,
and query strings are cut off.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from time import monotonic
from typing import Literal, TextIO

#: The id of the request that is being answered; it is added to every line that is logged meanwhile.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: The least level of the lines of libraries. Our own lines report starting, stopping and migrations, and a connection
#: to the database that is lost: psycopg warns of each of its own.
_LIBRARIES = {
    "uvicorn": logging.WARNING,
    "alembic": logging.WARNING,
    "dramatiq": logging.WARNING,
    "psycopg": logging.ERROR,
}
#: A value is dropped if its name contains one of these.
_SECRET = ("authorization", "cookie", "password", "secret", "token", "query")
#: Names of values whose query string is cut off: it can contain tickets and signatures.
_ADDRESSES = ("uri", "url", "path", "target", "location")
#: Values that are addresses of clients.
_CLIENT_ADDRESSES = {"client", "address"}
#: The attributes of every record; all others came in ``extra``. uvicorn adds a coloured copy of the message.
_ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message", "event"}


def configure(format: Literal["auto", "text", "json"], level: str, stream: TextIO, *, privacy: bool = False) -> None:
    """Send every log line of this process to ``stream``. ``auto`` is text on a terminal, JSON elsewhere.

    ``privacy`` shortens the addresses of clients and leaves the names of files out.
    """
    as_text = format == "text" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if as_text else JsonLines())
    if privacy:
        handler.addFilter(_make_private)
    # No line shows these; finding them out takes a third of the time of a line (Python's HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for library, least in _LIBRARIES.items():
        logging.getLogger(library).setLevel(logging.NOTSET if level == "debug" else least)


def _make_private(record: logging.LogRecord) -> bool:
    """Shorten the addresses of clients to their network, and remove the names of files."""
    values = vars(record)
    values.pop("file_name", None)
    for name in _CLIENT_ADDRESSES.intersection(values):
        values[name] = shortened(str(values[name]))
    return True


# json.dumps makes an encoder at each call.
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": _timestamp(record),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            **fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = _encode(line)
        if text.isprintable():
            return text
        # JSON escapes control characters only. Outside strings it has nothing that is not printable.
        return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


class Outages:
    """Limits the lines about things that keep failing: a warning at the first failure, then at most one in a while."""

    def __init__(self, message: str, *, every_seconds: float = 600.0, clock: Callable[[], float] = monotonic) -> None:
        self._message = message
        self._every_seconds = every_seconds
        self._clock = clock
        self._failing: dict[str, tuple[int, float]] = {}  # by name: failures not logged yet, and when the next line may

    def failed(self, log: logging.Logger, name: str, reason: str) -> None:
        """Log that ``name`` failed, if it is the first time or was not logged for long."""
        unlogged, next_at = self._failing.get(name, (0, 0.0))
        now = self._clock()
        if name in self._failing and now < next_at:
            self._failing[name] = (unlogged + 1, next_at)
            return
        log.warning(self._message, extra={"failing": name, "reason": reason, "failures": unlogged + 1})
        self._failing[name] = (0, now + self._every_seconds)

    def succeeded(self, log: logging.Logger, name: str) -> None:
        """Log that ``name`` works again, if it had failed."""
        if self._failing and self._failing.pop(name, None) is not None:
            log.info("it works again", extra={"failing": name})


class TextLines(logging.Formatter):
    """Formats a record as time, level, message and ``name=value`` pairs, followed by the lines of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_timestamp(record), f"{record.levelname.lower():<8}", printable(_event(record))]
        parts += [f"{key}={printable(str(value))}" for key, value in fields(record).items()]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _event(record: logging.LogRecord) -> str:
    event: str | None = vars(record).get("event")
    return record.getMessage() if event is None else event


def fields(record: logging.LogRecord) -> dict[str, object]:
    """The values in ``extra`` and the request id, without credentials."""
    values = {key: value for key, value in vars(record).items() if key not in _ORDINARY}
    if request_id.get():
        values.setdefault("request_id", request_id.get())
    return without_credentials(values)


def without_credentials(values: Mapping[str, object]) -> dict[str, object]:
    """The values without those whose names suggest credentials, and addresses without their query."""
    kept: dict[str, object] = {}
    for key, value in values.items():
        kind = _kind(key)
        if kind is _Kind.DROPPED:
            continue
        if kind is _Kind.ADDRESS and isinstance(value, str):
            kept[key] = value.partition("?")[0]
        elif type(value) not in _PLAIN and isinstance(value, Mapping):
            kept[key] = without_credentials(value)
        else:
            kept[key] = value
    return kept


class _Kind(Enum):
    """What a value of this name may contain."""

    ORDINARY = 0
    ADDRESS = 1  # a query string
    DROPPED = 2  # a credential


#: For these the slower check whether they are mappings is not needed.
_PLAIN = frozenset({str, int, float, type(None)})


@lru_cache(1024)
def _kind(key: str) -> _Kind:
    # Cached: a busy server writes thousands of lines a second, with a few dozen names.
    lowered = key.lower()
    if any(secret in lowered for secret in _SECRET):
        return _Kind.DROPPED
    return _Kind.ADDRESS if lowered in _ADDRESSES else _Kind.ORDINARY


def printable(text: str) -> str:
    """The text with control characters escaped: a client must not be able to control the operator's terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shortened(address: str) -> str:
    """The network of an address: 24 bits of IPv4, 48 of IPv6; other text unchanged."""
    try:
        parsed = ip_address(address.partition("/")[0])
    except ValueError:
        return address
    return str(ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


def _timestamp(record: logging.LogRecord) -> str:
    seconds = int(record.created)
    return f"{_second(seconds)}.{int((record.created - seconds) * 1000):03}Z"


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
