"""How the log looks: one line an event on standard error, as text or JSON, other libraries' lines among our own.

No credentials: values under their names are dropped, query strings cut off. What is told is the callers' business.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: What never reaches the log, whatever the key is called around it.
_SECRET = ("authorization", "cookie", "password", "secret", "token", "query")
#: Where a query string may hide; tickets and signatures travel in it.
_ADDRESSES = ("uri", "url", "path", "target", "location")


def configure(format: Literal["auto", "text", "json"], level: str, stream: TextIO) -> None:
    """Send every log line of this process to ``stream``. ``auto`` is text on a terminal, JSON elsewhere."""
    as_text = format == "text" or (format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_credentials,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(as_text, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Its lines about starting and stopping say what ours say; what goes wrong in it is still told.
    logging.getLogger("uvicorn").setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _ending(as_text: bool, stream: TextIO) -> list[Processor]:
    if as_text:
        # The default would print the value of every local variable below a traceback, credentials too.
        plain = structlog.dev.plain_traceback
        return [
            printable,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, pad_event_to=0),
        ]
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        leading,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def without_credentials(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event without values that are secret by their name, and addresses without their query."""
    return cast(EventDict, _without_credentials(event))


def _without_credentials(values: Mapping[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for key, value in values.items():
        lowered = key.lower()
        if any(secret in lowered for secret in _SECRET):
            continue
        if lowered in _ADDRESSES and isinstance(value, str):
            value = value.partition("?")[0]
        elif isinstance(value, Mapping):
            value = _without_credentials(value)
        kept[key] = value
    return kept


def leading(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event with what every line has in front, for who reads JSON with their eyes."""
    return {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event} | dict(event)


def printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event with control characters spelled out: a client must not write to the operator's terminal."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = "".join(
                character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
                for character in value
            )
    return event
