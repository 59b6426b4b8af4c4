"""``Tus`` mounted or as the whole application, opened by the first request or by a lifespan."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

import tusd_py
from tests.unit.web.asgi import Incoming, Outgoing, ask, body, scope
from tusd_py import Hook, HookEvent, HookResponse, Settings, SettingsError, Tus
from tusd_py.web import early_response

CREATE = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Content-Type": "application/offset+octet-stream"}


def test_all_names_the_public_interface() -> None:
    """Every name in ``__all__`` exists, and the version is that of the installed package."""
    assert {*tusd_py.__all__} == {name for name in tusd_py.__all__ if getattr(tusd_py, name) is not None}
    assert version("tusd-py") == tusd_py.__version__
    with pytest.raises(AttributeError):
        tusd_py.nothing  # noqa: B018 - it is looked up for what it raises


@pytest.mark.anyio
async def test_mounted_application_opens_with_the_first_request(tmp_path: Path) -> None:
    """Nothing is created before; links begin with the mount's path; after the lifespan a request opens it again."""
    uploads = Tus(data_dir=tmp_path / "data")
    app = Starlette(routes=[Mount("/api/files", uploads)])
    assert not (tmp_path / "data").exists()
    for _ in range(2):
        async with uploads.lifespan():
            made = await ask(app, "POST", "/api/files/", CREATE, b"abc")
            assert made.status == 201
            assert made.headers["location"].startswith("/api/files/")
            assert (await ask(app, "GET", made.headers["location"])).body == b"abc"


@pytest.mark.anyio
async def test_data_dir_overrides_the_settings(tmp_path: Path) -> None:
    """``data_dir`` replaces the one in the settings; all other settings apply."""
    settings = Settings.model_validate({"uploads": {"length_max": 2}, "storage": {"data_dir": "/nowhere/at/all"}})
    uploads = Tus(settings=settings, data_dir=tmp_path)
    async with uploads.lifespan():
        assert (await ask(uploads, "POST", "/", CREATE, b"abc")).status == 413
    assert (tmp_path / "tusd.sqlite3").exists()


@pytest.mark.anyio
async def test_each_hook_has_its_parameter(tmp_path: Path) -> None:
    """Each hook is called through its parameter, and its response is used."""
    called: list[Hook] = []

    def note(event: HookEvent) -> HookResponse | None:
        called.append(event.hook)
        return HookResponse(metadata={"by": "hook"}) if event.hook is Hook.PRE_CREATE else None

    uploads = Tus(data_dir=tmp_path, **{hook.value.replace("-", "_"): note for hook in Hook})  # type: ignore[arg-type]
    async with uploads.lifespan():
        made = (await ask(uploads, "POST", "/", CREATE, b"abc")).headers["location"]
        head = await ask(uploads, "HEAD", made, CREATE)
        assert head.headers["upload-metadata"] == "by aG9vaw=="
        assert (await ask(uploads, "DELETE", made, CREATE)).status == 204
    assert set(called) == set(Hook)


@pytest.mark.anyio
async def test_cut_upload_behind_a_middleware_of_starlette(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``BaseHTTPMiddleware`` raises if no response is sent, even to a client that is gone: each cut was a traceback."""
    uploads = Tus(data_dir=tmp_path)

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    async with uploads.lifespan():
        app = Passing(Starlette(routes=[Mount("/files", uploads)]))
        head = scope("POST", "/files/", {**CREATE, "Content-Length": "3"})
        out = Outgoing()
        await app(head, Incoming(body(b"a", more=True), {"type": "http.disconnect"}), out)
    assert [400] == [message["status"] for message in out.messages if message["type"] == "http.response.start"]
    assert "Traceback" not in caplog.text


async def lifespan_of(uploads: Tus) -> list[Message]:
    out = Outgoing()
    incoming = Incoming({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await uploads({"type": "lifespan", "asgi": {}}, incoming, out)
    return out.messages


@pytest.mark.anyio
async def test_lifespan_protocol(tmp_path: Path) -> None:
    """As the whole application ``Tus`` handles the lifespan itself."""
    types = [message["type"] for message in await lifespan_of(Tus(data_dir=tmp_path / "data"))]
    assert types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.anyio
async def test_failed_startup_is_sent_not_raised(tmp_path: Path) -> None:
    """Servers take an exception as "lifespan not supported" and start anyway; the message stops them."""
    (tmp_path / "data").write_text("a file")
    (failed,) = await lifespan_of(Tus(data_dir=tmp_path / "data"))
    assert failed["type"] == "lifespan.startup.failed"
    assert "data" in failed["message"]


@pytest.mark.anyio
async def test_unusable_data_dir_423_and_503(tmp_path: Path) -> None:
    """If a request cannot open the backends, HEAD gets 423 and others 503; a later request tries again."""
    (tmp_path / "data").write_text("a file")
    uploads = Tus(data_dir=tmp_path / "data")
    assert (await ask(uploads, "HEAD", "/u1", CREATE)).status == 423
    assert (await ask(uploads, "POST", "/", CREATE, b"abc")).status == 503
    (tmp_path / "data").unlink()
    async with uploads.lifespan():
        assert (await ask(uploads, "POST", "/", CREATE, b"abc")).status == 201


@pytest.mark.anyio
async def test_drain_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``drain()`` bodies are saved and answered 503; downloads still work."""
    monkeypatch.setattr(early_response, "_KEEP_SECONDS", 0.01)
    monkeypatch.setattr(early_response, "LINGER_SECONDS", 0.01)
    uploads = Tus(data_dir=tmp_path)
    async with uploads.lifespan():
        made = (await ask(uploads, "POST", "/", CREATE, b"ab" + b"c")).headers["location"]
        created = await ask(uploads, "POST", "/", {**CREATE, "Upload-Length": "9"}, b"abc")
        uploads.drain()
        out = Outgoing()
        head = {**CREATE, "Upload-Offset": "3", "Content-Length": "6"}
        del head["Upload-Length"]
        await asyncio.wait_for(
            uploads(scope("PATCH", created.headers["location"], head), Incoming(body(b"def")), out), 10
        )
        assert (out.status, out.headers["upload-offset"]) == (503, "6")
        assert (await ask(uploads, "GET", made)).status == 200


def test_one_event_loop_per_request(tmp_path: Path) -> None:
    """Test clients of the frameworks may run each request in an event loop of its own; each is answered."""
    uploads = Tus(data_dir=tmp_path)
    made = asyncio.run(ask(uploads, "POST", "/", CREATE, b"abc")).headers["location"]
    for _ in range(2):
        assert asyncio.run(ask(uploads, "GET", made)).body == b"abc"

    async def end() -> None:
        async with uploads.lifespan():
            pass

    asyncio.run(end())


def test_public_names() -> None:
    """The package exports the names that applications use, and raises ``AttributeError`` for others."""
    for name in ("Tus", "Hook", "HookResponse", "HookEvent", "ResponseOverride", "Settings"):
        assert getattr(tusd_py, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = tusd_py.Nothing


@pytest.mark.anyio
async def test_hook_gets_metadata_path_bytes_and_scope(tmp_path: Path) -> None:
    """A function sees the decoded metadata, the file, its bytes in pieces of any size, and what middleware left."""
    seen: list[object] = []

    async def look(event: HookEvent) -> None:
        assert event.path is not None and event.scope is not None
        async with await event.open() as file:
            seen.extend([event.metadata, event.filename, await file.read(2), await file.read(), await file.read()])
        async with await event.open() as file:
            seen.append([piece async for piece in file])
        seen.extend([Path(event.path).read_bytes(), event.upload.storage["Path"] == event.path, event.scope["user"]])

    uploads = Tus(data_dir=tmp_path, pre_finish=look)

    async def login(scope: Scope, receive: Receive, send: Send) -> None:
        await uploads({**scope, "user": "ann"}, receive, send)

    metadata = "filename Wm/DqyDwn5iALnR4dA==,empty"
    async with uploads.lifespan():
        made = await ask(login, "POST", "/", {**CREATE, "Upload-Metadata": metadata}, b"abc")
    assert made.status == 201
    name = "Zoë \N{GRINNING FACE}.txt"
    assert seen == [{"filename": name, "empty": ""}, name, b"ab", b"c", b"", [b"abc"], b"abc", True, "ann"]


def test_mistakes_in_settings_are_the_sentences_of_the_command_line(tmp_path: Path) -> None:
    """``Tus`` raises ``SettingsError`` with one sentence for each mistake, and creates nothing."""
    mistakes: list[tuple[dict[str, dict[str, object]], str]] = [
        ({"uploads": {"lenght_max": 1}}, "uploads.lenght_max (settings) is not a setting; did you mean uploads.length"),
        ({"upload": {}}, "upload (settings) is not a setting; did you mean uploads?"),
        ({"uploads": {"length_max": "x"}}, "uploads.length_max is 'x' (settings); it must be a number of bytes, or"),
    ]
    for settings, sentence in mistakes:
        with pytest.raises(SettingsError) as raised:
            Tus(settings=settings, data_dir=tmp_path / "d")
        assert str(raised.value).startswith(sentence)
    with pytest.raises(SettingsError, match=r"storage.data_dir is '' \(data_dir\); it must be the path of a directory"):
        Tus(data_dir="")
