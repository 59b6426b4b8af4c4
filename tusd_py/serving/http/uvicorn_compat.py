"""Chooses the protocol class: ours if the installed uvicorn has the internals that it uses, otherwise uvicorn's own.

The application works with either; with uvicorn's own it lacks what ``protocol`` adds.
"""

from __future__ import annotations

import asyncio
import dis
import logging
import os
import sys

import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from tusd_py.serving.connection_limit import ConnectionLimit
from tusd_py.serving.http.request_head import HeadLimits
from tusd_py.settings import ServerSettings

_log = logging.getLogger("tusd_py.serving")
#: The minor version whose internals are known.
VERSION = "0.54"
#: Names in its modules that are used.
NAMES = {
    flow_control: ("FlowControl", "service_unavailable"),
    httptools_impl: ("HttpToolsProtocol", "RequestResponseCycle", "STATUS_LINE"),
}
#: Methods that ``UploadProtocol`` calls or overrides.
CONNECTION_METHODS = (
    "connection_made", "connection_lost", "data_received", "handle_websocket_upgrade", "on_body", "on_header",
    "on_headers_complete", "on_message_begin", "on_message_complete", "on_response_complete", "on_url", "shutdown",
    "timeout_keep_alive_handler", "_should_upgrade", "_start_asgi_task", "_unset_keepalive_if_required",
)  # fmt: skip
#: Attributes that it reads or sets.
CONNECTION_FIELDS = (
    "access_log", "access_logger", "app", "app_state", "asgi_version", "client", "connections", "cycle", "flow",
    "headers", "limit_concurrency", "logger", "loop", "parser", "pipeline", "root_path", "scheme", "scope", "server",
    "server_state", "tasks",
    "timeout_keep_alive", "timeout_keep_alive_task", "transport",
)  # fmt: skip
#: Attributes that the constructor of a request sets. ``Cycle`` has all of them without calling it, but for ``body``,
#: which only uvicorn's ``receive`` uses.
CYCLE_FIELDS = (
    "access_log", "access_logger", "body", "chunked_encoding", "default_headers", "disconnected",
    "expected_content_length", "flow", "keep_alive", "logger", "message_event", "more_body", "on_response",
    "response_complete", "response_started", "scope", "transport", "waiting_for_100_continue",
)  # fmt: skip
FLOW_METHODS = ("drain", "pause_reading", "resume_reading")


def protocol_class(server: ServerSettings, limit: ConnectionLimit | None = None) -> type[asyncio.Protocol] | None:
    """Return our protocol class, bound to these settings; ``None``, with a warning in the log, if uvicorn differs."""
    if missing := differences(uvicorn.__version__):
        _log.warning(
            "unknown version of uvicorn: serving without header limits, header timeouts, trailers and zero copy",
            extra={"uvicorn": uvicorn.__version__, "expected": VERSION, "missing": missing},
        )
        return None
    # Imported only now, when its base classes are known to be there.
    from tusd_py.serving.http.limited import LimitedProtocol
    from tusd_py.serving.http.sendfile import SendSlots
    from tusd_py.serving.http.splice import PipePool

    receives = server.fast_body and os.name == "posix"
    # Other systems report the progress of sendfile(2) differently.
    sends = server.fast_body and sys.platform == "linux"

    class BoundedProtocol(LimitedProtocol):
        connection_limit = limit
        limits = HeadLimits(server.header_timeout_seconds, server.header_bytes_max)
        pipes = PipePool() if receives else None
        send_slots = SendSlots() if sends else None

    return BoundedProtocol


def differences(version: str) -> list[str]:
    """Return the names of uvicorn that are missing in this version."""
    if not version.startswith(f"{VERSION}."):
        return [f"version {VERSION}"]
    used = [(module, name) for module, names in NAMES.items() for name in names]
    missing = [f"{module.__name__}.{name}" for module, name in used if not hasattr(module, name)]
    if missing:
        return missing
    connection, cycle = httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle
    missing += _missing_methods(connection, CONNECTION_METHODS) + _missing_methods(
        flow_control.FlowControl, FLOW_METHODS
    )
    missing += _missing_methods(cycle, ("receive", "send", "run_asgi"))
    missing += _missing_fields(connection, CONNECTION_FIELDS) + _missing_fields(cycle, CYCLE_FIELDS)
    return missing + _unknown_fields(cycle, CYCLE_FIELDS)


def _missing_methods(kind: type, names: tuple[str, ...]) -> list[str]:
    return [f"{kind.__name__}.{name}" for name in names if not callable(getattr(kind, name, None))]


def _unknown_fields(kind: type, names: tuple[str, ...]) -> list[str]:
    """Return the attributes that ``__init__`` of this class sets besides these: its methods may need them."""
    return [f"{kind.__name__}.{name}" for name in sorted(_assigned(kind) - {*names})]


def _assigned(kind: type) -> set[str]:
    """The attributes that ``__init__`` of this class sets."""
    return {each.argval for each in dis.get_instructions(kind.__init__) if each.opname == "STORE_ATTR"}  # type: ignore[misc]  # read from the class, on purpose


def _missing_fields(kind: type, names: tuple[str, ...]) -> list[str]:
    """Return the attributes that ``__init__`` of this class does not set."""
    assigned = _assigned(kind)
    return [f"{kind.__name__}.{name}" for name in names if name not in assigned]
