"""The format of the log: one line per record, as text or JSON, including the records of libraries.

Callers log a short constant message and put values into ``extra``. A value named ``event`` is shown in place of a
message that repeats values for the handlers of an application. Values whose names suggest credentials are dropped,
and query strings are cut off.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from json.encoder import encode_basestring
from threading import get_ident
from time import monotonic, time
from typing import Any, Literal, TextIO

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
#: Libraries whose lines of level debug contain signatures and session tokens: these are never logged.
_REVEALING = ("botocore", "aiobotocore")
#: A value is dropped if its name contains one of these.
_SECRET = ("authorization", "cookie", "password", "secret", "token", "query")
#: Names of values whose query string is cut off: it can contain tickets and signatures.
_ADDRESSES = ("uri", "url", "path", "target", "location")
#: Values that are addresses of clients.
_CLIENT_ADDRESSES = {"client", "address"}
#: More lines are written before the turn of the event loop ends.
_GATHERED_MAX = 1000
#: The attributes of every record; all others came in ``extra``. uvicorn adds a coloured copy of the message.
_ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message", "event"}


def configure(format: Literal["auto", "text", "json"], level: str, stream: TextIO, *, privacy: bool = False) -> None:
    """Send every log line of this process to ``stream``. ``auto`` is text on a terminal, JSON elsewhere.

    ``privacy`` shortens the addresses of clients and leaves the names of files out.
    """
    as_text = format == "text" or (format == "auto" and stream.isatty())
    handler = GatheredLines(stream, TextLines() if as_text else JsonLines())
    if privacy:
        handler.addFilter(_make_private)
    # No line shows these; finding them out takes a third of the time of a line (Python's HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # from Python 3.12 on
    root = logging.getLogger()
    earlier, root.handlers = root.handlers, [handler]
    for each in earlier:
        each.flush()
    root.setLevel(level.upper())
    for library, least in _LIBRARIES.items():
        logging.getLogger(library).setLevel(logging.NOTSET if level == "debug" else least)
    for library in _REVEALING:
        logging.getLogger(library).setLevel(logging.WARNING)


def _make_private(record: logging.LogRecord) -> bool:
    """Shorten the addresses of clients to their network, and remove the names of files."""
    values = vars(record)
    values.pop("file_name", None)
    for name in _CLIENT_ADDRESSES.intersection(values):
        values[name] = shortened(str(values[name]))
    return True


_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        values = fields(record)
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return self.format_line(record.created, record.levelname.lower(), str(record.name), _event(record), values)

    def format_line(self, at: float, level: str, logger: str, event: str, values: Mapping[str, object]) -> str:
        """The line with these ``values``."""
        # json.dumps makes an encoder for each line.
        texts = [
            encode_basestring(value) if type(value) is str else str(value) if type(value) is int else _encode(value)
            for value in values.values()
        ]
        line = _template(level, logger, event, tuple(values)) % (_timestamp(at), *texts)
        if line.isprintable():
            return line
        # JSON escapes control characters only. Outside strings it has nothing that is not printable.
        return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)


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
        line = self.format_line(record.created, record.levelname.lower(), record.name, _event(record), fields(record))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def format_line(self, at: float, level: str, logger: str, event: str, values: Mapping[str, object]) -> str:
        """The line with these ``values``; ``logger`` is left out."""
        parts = [_timestamp(at), f"{level:<8}", printable(event)]
        parts += [f"{key}={printable(str(value))}" for key, value in values.items()]
        return " ".join(parts)


class GatheredLines(logging.Handler):
    """Writes the lines of one turn of the event loop with one system call; lines of other threads and warnings at once.

    A line of each upload would otherwise cost a system call of its own. Lines stay in order. The end of the program
    writes what is left (``logging.shutdown``), so only a kill loses lines: those of one turn.
    """

    def __init__(self, stream: TextIO, formatter: TextLines | JsonLines) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream
        self._format_line = formatter.format_line
        #: Lines with their ends, and what those of ``emit_event`` are made of.
        self._lines: list[str | _Event] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will call flush()
        self._thread = 0  # in which it runs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._gather(self.format(record) + "\n", is_urgent=record.levelno >= logging.WARNING)
        except Exception:  # noqa: BLE001 - the outermost handler of a line, as in the standard library
            self.handleError(record)

    def emit_event(self, logger: str, event: str, describe: Describe, subject: tuple[Any, ...]) -> None:
        """Write a line of level INFO with the values that ``describe`` returns of ``subject``, without a record."""
        try:
            with self.lock or nullcontext():
                self._gather((time(), logger, event, describe, subject), is_urgent=False)
        except Exception:  # noqa: BLE001 - the outermost handler, as in emit
            self._report(logger, event)

    def _gather(self, line: str | _Event, *, is_urgent: bool) -> None:
        self._lines.append(line)
        if is_urgent or len(self._lines) >= _GATHERED_MAX or not self._is_flushed_later():
            self.flush()

    def _is_flushed_later(self) -> bool:
        # Cheaper than to look for the event loop, which takes a system call in Python 3.11.
        if self._loop is not None and self._thread == get_ident() and self._loop.is_running():
            return True
        loop = asyncio._get_running_loop()
        if loop is None:
            return False
        if self._loop is not loop:
            loop.call_soon(self._flush_turn)
            self._loop, self._thread = loop, get_ident()
        return True

    def _flush_turn(self) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - the outermost handler; the loop would log it, which fails too
            self._report(__name__, "lines of the log")

    def _report(self, logger: str, event: str) -> None:
        """Report that lines could not be written, as the standard library does for a record."""
        self.handleError(logging.LogRecord(logger, logging.INFO, "", 0, event, None, None))

    def flush(self) -> None:
        with self.lock or nullcontext():
            self._loop = None
            if self._lines:
                lines, self._lines = self._lines, []
                # One after the other: code that has just run is in the caches.
                text = [line if isinstance(line, str) else self._format_event(*line) for line in lines]
                self._stream.write("".join(text))
            self._stream.flush()

    def _format_event(self, at: float, logger: str, event: str, describe: Describe, subject: tuple[Any, ...]) -> str:
        try:
            return self._format_line(at, "info", logger, event, describe(*subject)) + "\n"
        except Exception:  # noqa: BLE001 - the outermost handler, as in emit
            self._report(logger, event)
            return ""


#: Returns the values of a line.
Describe = Callable[..., dict[str, object]]
#: The time, the logger and the event of a line, and what its values are made of.
_Event = tuple[float, str, str, Describe, tuple[Any, ...]]


def log_event(logger: logging.Logger, event: str, describe: Describe, *subject: object) -> None:
    """``logger.info(event, extra=describe(*subject))``; a fifth of its time if no handler but ours would see the line.

    Each upload has one or two such lines. ``describe`` may be called later: what it returns must depend on nothing but
    ``subject``, which must not change. The names of the values must not suggest credentials or addresses.
    """
    handler = _only_handler(logger)
    if handler is None:
        logger.info(event, extra=describe(*subject))
    elif logger.isEnabledFor(logging.INFO):
        if current := request_id.get():
            describe, subject = _with_request_id, (current, describe, subject)
        handler.emit_event(logger.name, event, describe, subject)


def _with_request_id(current: str, describe: Describe, subject: tuple[Any, ...]) -> dict[str, object]:
    values = describe(*subject)
    values.setdefault("request_id", current)
    return values


def _only_handler(logger: logging.Logger) -> GatheredLines | None:
    """Our handler, if no other one and no filter gets the lines of ``logger``."""
    each = logger
    while (parent := each.parent) is not None:
        if each.handlers or each.filters or not each.propagate:
            return None
        each = parent
    handlers = each.handlers
    if len(handlers) != 1 or handlers[0].filters or each.filters:
        return None
    only = handlers[0]
    return only if type(only) is GatheredLines and only.level <= logging.INFO else None


def _event(record: logging.LogRecord) -> str:
    event: str | None = vars(record).get("event")
    return record.getMessage() if event is None else event


def fields(record: logging.LogRecord) -> dict[str, object]:
    """The values in ``extra`` and the request id, without credentials."""
    values = {key: value for key, value in vars(record).items() if key not in _ORDINARY}
    if current := request_id.get():
        values.setdefault("request_id", current)
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
    """The kind of secret that a value of this name may contain."""

    ORDINARY = 0
    ADDRESS = 1  # a query string
    DROPPED = 2  # a credential


#: For these the slower check whether they are mappings is not needed.
_PLAIN = frozenset({str, int, float, type(None)})


@lru_cache(1024)
def _template(level: str, logger: str, event: str, names: tuple[str, ...]) -> str:
    """The JSON of a line with values of these names; cached, as there are some dozens of kinds of lines."""
    start = f', "level": "{level}", "event": {encode_basestring(event)}, "logger": {encode_basestring(logger)}'
    quoted = [f", {encode_basestring(name)}: ".replace("%", "%%") + "%s" for name in names]
    return '{"timestamp": "%s"' + start.replace("%", "%%") + "".join(quoted) + "}"


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


def _timestamp(at: float) -> str:
    seconds = int(at)
    return f"{_second(seconds)}.{int((at - seconds) * 1000):03}Z"


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
