"""JSON bodies: bounded, checked and read member by member."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from starlette.requests import Request

from tests.support.virtual_time import VIRTUAL_TIME
from tests.unit.web.asgi import GONE, Incoming, body, scope
from tusd_py.web.api.json_body import BODY_BYTES_MAX, BODY_SECONDS, JsonBody, read_json
from tusd_py.web.api.problems import ApiError

JSON = {"Content-Type": "application/json; charset=utf-8"}


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL_TIME


def request(data: bytes, headers: dict[str, str] | None = None) -> Request:
    return Request(scope("POST", "/api/x", headers or JSON), Incoming(body(data, more=False)))


@pytest.mark.anyio
async def test_members_are_read() -> None:
    """Each method returns a value of its type; null counts as absent."""
    data = b'{"a": "x", "n": 5, "f": false, "l": ["y"], "m": {"k": "v"}, "t": "2026-01-31T12:00:00Z", "nil": null}'
    members = await read_json(request(data))
    assert (members.text("a"), members.number("n"), members.flag("f"), members.texts("l")) == ("x", 5, False, ["y"])
    assert members.text_map("m") == {"k": "v"}
    assert members.instant("t") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert members.choice("a", ("x", "z")) == "x"
    assert ("nil" in members, members.text("nil", ""), members.number("absent", 3)) == (False, "", 3)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"a": 1e999999999999x}',
        b'{"a": 1, "a": 2}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        '{"a": "é"}'.encode("utf-16"),
        b"[" * 60_000,
        b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        b'{"a": ' + b"[" * 9 + b"]" * 9 + b"}",
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
async def test_invalid_json_400(data: bytes) -> None:
    """Malformed, deep, repeated and foreign bodies are refused; none of them is an error of the server."""
    with pytest.raises(ApiError) as refused:
        await read_json(request(data))
    assert refused.value.status == 400


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Other": "1"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_other_types_415(headers: dict[str, str]) -> None:
    """Only JSON: a form, which a browser sends across origins without asking, is refused."""
    with pytest.raises(ApiError) as refused:
        await read_json(request(b"{}", headers))
    assert refused.value.status == 415


@pytest.mark.anyio
@pytest.mark.parametrize("announced", [{}, {"Content-Length": str(BODY_BYTES_MAX + 1)}, {"Content-Length": "9" * 30}])
async def test_large_body_413(announced: dict[str, str]) -> None:
    """A body beyond the bound is refused at its head, or at the first byte too many."""
    incoming = Incoming(body(b" " * BODY_BYTES_MAX), body(b" "), body(b" " * 99))
    with pytest.raises(ApiError) as refused:
        await read_json(Request(scope("POST", "/api/x", {**JSON, **announced}), incoming))
    assert refused.value.status == 413
    assert len(incoming.left) == (3 if announced else 1)


@pytest.mark.anyio
async def test_aborted_body_400() -> None:
    """A connection that ends before its body is no error of the server."""
    with pytest.raises(ApiError) as refused:
        await read_json(Request(scope("POST", "/api/x", JSON), Incoming(body(b"{"), GONE)))
    assert refused.value.status == 400


@pytest.mark.anyio
async def test_slow_body_408() -> None:
    """A body that does not arrive in time is refused."""
    before = asyncio.get_running_loop().time()
    with pytest.raises(ApiError) as refused:
        await read_json(Request(scope("POST", "/api/x", JSON), Incoming(body(b"{"))))
    assert refused.value.status == 408
    assert asyncio.get_running_loop().time() - before == pytest.approx(BODY_SECONDS, abs=0.1)


@pytest.mark.parametrize(
    "read",
    [
        lambda members: members.text("missing"),
        lambda members: members.text("n"),
        lambda members: members.text("long"),
        lambda members: members.text("nul"),
        lambda members: members.text("half"),
        lambda members: members.number("f"),
        lambda members: members.number("n", most=4),
        lambda members: members.number("real"),
        lambda members: members.flag("n"),
        lambda members: members.texts("a"),
        lambda members: members.texts("mixed"),
        lambda members: members.texts("many", items_max=2),
        lambda members: members.text_map("l"),
        lambda members: members.text_map("odd"),
        lambda members: members.choice("a", ("y",)),
        lambda members: members.instant("a"),
        lambda members: members.instant("n"),
        lambda members: members.only("a"),
    ],
)
def test_invalid_member_400(read: Callable[[JsonBody], object]) -> None:
    """Each method refuses values of other types, beyond its bounds, and texts that no database can hold."""
    members = JsonBody(
        {
            "a": "x",
            "n": 5,
            "f": True,
            "real": 1.5,
            "long": "x" * 2000,
            "nul": "\0",
            "half": "\ud800",
            "mixed": ["a", 1],
            "many": ["a", "b", "c"],
            "l": [],
            "odd": {"k": 1},
        }
    )
    with pytest.raises(ApiError) as refused:
        read(members)
    assert refused.value.status == 400
