"""Which class serves connections: ours where uvicorn is as it expects, else the one that uvicorn brings.

The application works with either; with uvicorn's own it lacks what ``protocol`` adds.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys

import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from tusd_py.serving.http.request_head import Bounds
from tusd_py.settings import ServerSettings

_log = logging.getLogger("tusd_py.serving")
#: The minor version whose internals were read.
VERSION = "0.54"
#: The internals of that version that are relied on: names in modules, and what is called or set.
NAMES = {
    flow_control: ("FlowControl", "service_unavailable"),
    httptools_impl: ("HttpToolsProtocol", "RequestResponseCycle", "STATUS_LINE"),
}
#: What ``UploadProtocol`` calls or overrides.
CONNECTION_METHODS = (
    "connection_made", "connection_lost", "data_received", "handle_websocket_upgrade", "on_body", "on_header",
    "on_headers_complete", "on_message_begin", "on_message_complete", "on_response_complete", "on_url", "shutdown",
    "timeout_keep_alive_handler", "_should_upgrade", "_start_asgi_task",
)  # fmt: skip
#: What it reads or sets.
CONNECTION_FIELDS = (
    "access_log", "access_logger", "app", "app_state", "asgi_version", "client", "connections", "cycle", "flow",
    "headers", "limit_concurrency", "logger", "loop", "parser", "pipeline", "root_path", "scheme", "scope", "server",
    "server_state", "tasks",
    "timeout_keep_alive", "timeout_keep_alive_task", "transport",
)  # fmt: skip
#: What ``Cycle`` is made of.
CYCLE_ARGUMENTS = (
    "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event",
    "expect_100_continue", "keep_alive", "on_response",
)  # fmt: skip
CYCLE_FIELDS = (
    "chunked_encoding", "disconnected", "expected_content_length", "flow", "keep_alive", "message_event", "more_body",
    "response_complete", "response_started", "scope", "transport", "waiting_for_100_continue",
)  # fmt: skip
FLOW_METHODS = ("drain", "pause_reading", "resume_reading")


def protocol_class(server: ServerSettings) -> type[asyncio.Protocol] | None:
    """The class to serve with, bound to these settings; ``None``, with a warning in the log, where uvicorn differs."""
    if missing := differences(uvicorn.__version__):
        _log.warning(
            "this version of uvicorn is served with as it is: without header timeouts, limits and trailers",
            extra={"uvicorn": uvicorn.__version__, "expected": VERSION, "missing": missing},
        )
        return None
    # Not before it is known that what it stands on is there.
    from tusd_py.serving.http.protocol import UploadProtocol
    from tusd_py.serving.http.sendfile import Outlets
    from tusd_py.serving.http.splice import Pipes

    takes = server.fast_body and os.name == "posix"
    # Elsewhere sendfile(2) tells otherwise how far it came.
    gives = server.fast_body and sys.platform == "linux"

    class BoundedProtocol(UploadProtocol):
        bounds = Bounds(header_timeout_seconds=server.header_timeout_seconds, header_bytes_max=server.header_bytes_max)
        pipes = Pipes() if takes else None
        outlets = Outlets() if gives else None

    return BoundedProtocol


def differences(version: str) -> list[str]:
    """What of uvicorn is not as expected, in words."""
    if not version.startswith(f"{VERSION}."):
        return [f"version {VERSION}"]
    wanted = [(module, name) for module, names in NAMES.items() for name in names]
    missing = [f"{module.__name__}.{name}" for module, name in wanted if not hasattr(module, name)]
    if missing:
        return missing
    connection, cycle = httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle
    missing += _without(connection, CONNECTION_METHODS) + _without(flow_control.FlowControl, FLOW_METHODS)
    missing += _without(cycle, ("receive", "send", "run_asgi"))
    missing += _unset(connection, CONNECTION_FIELDS) + _unset(cycle, CYCLE_FIELDS)
    arguments = inspect.signature(cycle).parameters
    return missing + [f"RequestResponseCycle({name}=)" for name in CYCLE_ARGUMENTS if name not in arguments]


def _without(kind: type, names: tuple[str, ...]) -> list[str]:
    return [f"{kind.__name__}.{name}" for name in names if not callable(getattr(kind, name, None))]


def _unset(kind: type, names: tuple[str, ...]) -> list[str]:
    """The fields that a new object of this kind would not have: none of its code sets them."""
    assigned = set(kind.__init__.__code__.co_names)  # type: ignore[misc]  # read from the class, on purpose
    return [f"{kind.__name__}.{name}" for name in names if name not in assigned]
