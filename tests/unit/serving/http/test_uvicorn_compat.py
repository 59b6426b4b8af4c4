"""The choice of the protocol class: uvicorn's own is used if an internal that ours needs is missing."""

from __future__ import annotations

import ast
import inspect
import logging
from types import ModuleType

import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from tusd_py.serving.http import closing, cycle, protocol, starting, uvicorn_compat
from tusd_py.serving.http.uvicorn_compat import differences, protocol_class
from tusd_py.settings import ServerSettings


def test_installed_uvicorn_has_every_internal() -> None:
    """The locked version has everything that is used."""
    assert [] == differences(uvicorn.__version__)


def test_other_minor_version_differs() -> None:
    """Patch releases of the known minor version are accepted, other minor versions are not."""
    assert [] == differences("0.54.99")
    for version in ("0.53.0", "0.55.0", "0.5", "1.54.0"):
        assert ["version 0.54"] == differences(version)


@pytest.mark.parametrize(
    "owner,name,expected",
    [
        (httptools_impl, "STATUS_LINE", "uvicorn.protocols.http.httptools_impl.STATUS_LINE"),
        (httptools_impl.HttpToolsProtocol, "_start_asgi_task", "HttpToolsProtocol._start_asgi_task"),
        (httptools_impl.RequestResponseCycle, "run_asgi", "RequestResponseCycle.run_asgi"),
        (flow_control.FlowControl, "pause_reading", "FlowControl.pause_reading"),
    ],
)
def test_missing_internal_is_named(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, expected: str) -> None:
    """Each missing internal is named, and uvicorn's own class is used."""
    monkeypatch.delattr(owner, name)
    assert [expected] == differences(uvicorn.__version__)
    assert protocol_class(ServerSettings()) is None


def test_changed_fields_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is no longer set is named, and one that is new: uvicorn's methods may need it."""

    class Changed:
        def __init__(self, scope: object) -> None:
            self.scope = scope
            self.novel = 1

        async def receive(self) -> None: ...
        async def send(self) -> None: ...
        async def run_asgi(self) -> None: ...

    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", Changed)
    missing = differences(uvicorn.__version__)
    assert {"Changed.more_body", "Changed.novel"} <= set(missing)
    assert "Changed.scope" not in missing


def test_unknown_version_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The warning has the installed version and the expected one."""
    monkeypatch.setattr(uvicorn, "__version__", "0.55.1")
    with caplog.at_level(logging.WARNING):
        assert protocol_class(ServerSettings()) is None
    (record,) = caplog.records
    assert ("0.55.1", "0.54") == (record.__dict__["uvicorn"], record.__dict__["expected"])


def test_class_has_the_limits_of_the_settings() -> None:
    """Two servers in one process can have different limits."""
    for seconds, count in ((1.5, 1000), (2.5, 2000)):
        kind = protocol_class(ServerSettings(header_timeout_seconds=seconds, header_bytes_max=count))
        assert kind is not None
        assert issubclass(kind, protocol.UploadProtocol)
        assert (seconds, count) == (kind.limits.header_timeout_seconds, kind.limits.header_bytes_max)


def used_attributes(module: ModuleType, kind: str) -> set[str]:
    """The attributes of ``self`` that the class named ``kind`` uses and does not define itself."""
    tree = next(
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == kind
    )
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in tree.body:
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        own |= {target.id for target in targets if isinstance(target, ast.Name)}
    overridden = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and "super()" in ast.unparse(node.value)
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    made = {
        node.attr
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return (used - own - made | overridden) - {"limits", "pipes", "send_slots", "__init__"}


def test_list_of_internals_is_complete() -> None:
    """Everything our classes use of their base classes, and import from uvicorn, is on the list."""
    connection = {*uvicorn_compat.CONNECTION_METHODS, *uvicorn_compat.CONNECTION_FIELDS}
    base = starting.StartingProtocol
    own = {*vars(base), *base.__init__.__code__.co_names}
    assert set() == used_attributes(protocol, "UploadProtocol") - connection - own
    assert set() == used_attributes(starting, "StartingProtocol") - connection
    assert set() == used_attributes(cycle, "Cycle") - set(uvicorn_compat.CYCLE_FIELDS)
    imported = {
        (node.module, alias.name)
        for module in (protocol, cycle, closing, starting)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("uvicorn")
        for alias in node.names
    }
    listed = {(module.__name__, name) for module, names in uvicorn_compat.NAMES.items() for name in names}
    assert imported - listed == set()
