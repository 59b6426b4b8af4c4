"""Blocking hooks of a running server over HTTP, with a receiver written for tusd v2."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import TUS, Connection, create, patch_headers, request
from tests.support.receiver import CUT, HANG, Answer, Receiver, receiving
from tests.support.server import RunningServer, start_server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("receiver")]

ALL = "authorize,pre-create,pre-finish,pre-terminate"


@pytest.fixture(scope="module")
def server(module_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "HOOKS__HTTP_URLS": module_receiver.url,
        "HOOKS__ENABLED_EVENTS": ALL,
        "HOOKS__HTTP_BACKOFF_SECONDS": "0.01",
        "HOOKS__HTTP_TIMEOUT_SECONDS": "0.5",
        "HOOKS__HTTP_FORWARD_HEADERS": "x-Tenant,Cookie",
    }
    running = start_server(tmp_path_factory.mktemp("hooked") / "data", settings=settings)
    yield running
    running.kill()


def metadata(**values: str) -> str:
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in values.items())


async def post(server: RunningServer, *, query: str = "", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request("POST", server.url + query, {**TUS, "Upload-Length": "4", **named})


async def test_pre_create_request_is_that_of_tusd(server: RunningServer, receiver: Receiver) -> None:
    """Every field of tusd's pre-create is there with its name and type, and no other."""
    answer = await post(server, query="?a=%20b", upload_metadata=metadata(filename="ä.png", kind="x"), x_tenant="7")
    assert answer.status == 201
    [call] = receiver.of("pre-create")
    assert (call.method, call.path, call.header("content-type")) == ("POST", "/hooks", ["application/json"])
    remote = call.request.pop("RemoteAddr")
    assert remote.startswith("127.0.0.1:")
    assert call.payload == {
        "Type": "pre-create",
        "Event": {
            "Upload": {
                "ID": "",
                "Size": 4,
                "SizeIsDeferred": False,
                "Offset": 0,
                "MetaData": {"filename": "ä.png", "kind": "x"},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": None,
            },
            "HTTPRequest": {
                "Method": "POST",
                "URI": "/files/?a=%20b",
                "Header": {
                    "Host": [f"127.0.0.1:{server.port}"],
                    "Tus-Resumable": ["1.0.0"],
                    "Upload-Length": ["4"],
                    "Upload-Metadata": [metadata(filename="ä.png", kind="x")],
                    "X-Tenant": ["7"],
                },
            },
        },
    }


async def test_pre_create_rejects_400(server: RunningServer, receiver: Receiver) -> None:
    """With tusd's error code, or with the response of the receiver; no upload is created."""
    receiver.answers["pre-create"] = Answer({"RejectUpload": True})
    plain = await post(server)
    assert (plain.status, plain.body) == (
        400,
        b"ERR_UPLOAD_REJECTED: upload creation has been rejected by server\n",
    )
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    response = {"statusCode": 403, "body": '{"why":"no"}', "header": {"Content-Type": "application/json", "X-A": "1"}}
    receiver.answers["pre-create"] = Answer({"rejectUpload": True, "httpResponse": response})
    overridden = await post(server)
    assert (overridden.status, overridden.body, overridden.headers["content-type"], overridden.headers["x-a"]) == (
        403,
        b'{"why":"no"}',
        "application/json",
        "1",
    )
    assert "location" not in overridden.headers


async def test_pre_create_changes_id_and_metadata(server: RunningServer, receiver: Receiver) -> None:
    """The upload has the id and metadata of the receiver; the 201 has its headers."""
    changes = {"ID": "chosen-1", "MetaData": {"filename": "b.png", "by": ""}}
    receiver.answers["pre-create"] = Answer(
        {"ChangeFileInfo": changes, "HTTPResponse": {"Header": {"X-B": "2"}}, "Unknown": [1]}
    )
    created = await post(server, upload_metadata=metadata(filename="a.png"))
    assert (created.status, created.headers["x-b"]) == (201, "2")
    assert created.headers["location"].endswith("/files/chosen-1")
    head = await request("HEAD", server.url + "chosen-1")
    assert head.headers["upload-metadata"] == f"{metadata(filename='b.png')},by"
    receiver.answers["pre-create"] = Answer({"ChangeFileInfo": {"MetaData": {}}})
    url = (await post(server, upload_metadata=metadata(filename="a.png"))).headers["location"]
    assert "upload-metadata" not in (await request("HEAD", server.root + url if url[0] == "/" else url)).headers


async def test_pre_create_chooses_the_path(server: RunningServer, receiver: Receiver) -> None:
    """The path is used by every later request; an existing path is refused with 409."""
    chosen = Answer({"ChangeFileInfo": {"ID": "by-path", "Storage": {"Path": "p/abc/x.pdf", "Other": "1"}}})
    receiver.answers["pre-create"] = chosen
    url = server.url + "by-path"
    assert (await post(server)).status == 201
    path = server.data_dir / "uploads" / "p" / "abc" / "x.pdf"
    receiver.answers["pre-create"] = Answer({"ChangeFileInfo": {"Storage": {"Path": "p/abc/x.pdf"}}})
    taken = await post(server)
    assert (taken.status, taken.body.split(b":")[0]) == (409, b"ERR_UPLOAD_EXISTS")
    assert (await request("PATCH", url, patch_headers(0), b"01")).offset == 2
    assert (await request("PATCH", url, patch_headers(2), b"23")).status == 204
    assert (path.read_bytes(), (await request("GET", url)).body) == (b"0123", b"0123")
    storage = receiver.of("pre-finish")[-1].upload["Storage"]
    assert storage == {"Type": "filestore", "Path": str(path), "InfoPath": f"{path}.info"}
    assert (await request("DELETE", url)).status == 204
    assert not path.exists()
    again = await request("POST", server.url, {**TUS, **patch_headers(0), "Upload-Length": "3"}, b"abc")
    assert (again.status, path.read_bytes()) == (201, b"abc")


async def test_ids_with_special_characters(server: RunningServer, receiver: Receiver) -> None:
    """Plain or percent-encoded, in the URL, in Upload-Concat, and as a file name."""
    upload_id = "0~!$'()*+,=@_-"
    receiver.answers["pre-create"] = Answer({"ChangeFileInfo": {"ID": upload_id}})
    headers = {**TUS, **patch_headers(0), "Upload-Length": "2", "Upload-Concat": "partial"}
    created = await request("POST", server.url, headers, b"0")
    assert created.headers["location"].endswith("/files/" + upload_id)
    url = server.url + quote(upload_id, safe="")
    assert (await request("PATCH", url, patch_headers(1), b"1")).status == 204
    assert (server.data_dir / "uploads" / upload_id).read_bytes() == b"01"
    receiver.answers.clear()
    locations = f"{created.headers['location']} {url}"
    final = await request("POST", server.url, {**TUS, "Upload-Concat": f"final;{locations}"})
    assert final.status == 201
    assert server.stored(final.headers["location"]) == b"0101"
    assert (await request("DELETE", server.url + upload_id)).status == 204


async def test_pre_create_chooses_the_path_of_a_final_upload(server: RunningServer, receiver: Receiver) -> None:
    """The parts and the final upload may each have a path."""
    parts = []
    for name in ("a", "b"):
        receiver.answers["pre-create"] = Answer({"ChangeFileInfo": {"Storage": {"Path": f"parts/{name}.part"}}})
        headers = {**TUS, **patch_headers(0), "Upload-Length": "1", "Upload-Concat": "partial"}
        parts.append((await request("POST", server.url, headers, name.encode())).headers["location"])
    receiver.answers["pre-create"] = Answer({"ChangeFileInfo": {"Storage": {"Path": "whole/ab.txt"}}})
    final = await request("POST", server.url, {**TUS, "Upload-Concat": f"final;{' '.join(parts)}"})
    assert (final.status, receiver.of("pre-create")[-1].upload["IsFinal"]) == (201, True)
    part_ids = [part.rsplit("/", 1)[1] for part in parts]
    assert receiver.of("pre-create")[-1].upload["PartialUploads"] == part_ids
    assert (server.data_dir / "uploads" / "whole" / "ab.txt").read_bytes() == b"ab"


INVALID = {
    "not JSON": Answer(raw=b"secret-of-the-hook"),
    "too long": Answer(raw=b'{"a":"' + b"secret-of-the-hook" * 400 + b'"}'),
    "a header with several values": Answer({"HTTPResponse": {"Header": {"X": ["secret-of-the-hook"]}}}),
    "another content type": Answer({"secret-of-the-hook": 1}, content_type="text/html"),
    "no content type": Answer({"secret-of-the-hook": 1}, content_type=None),
    "an id that no URL can have": Answer({"ChangeFileInfo": {"ID": "secret-of-the-hook/../x"}}),
    "a path outside of the directory": Answer({"ChangeFileInfo": {"Storage": {"Path": "../secret-of-the-hook"}}}),
    "an absolute path": Answer({"ChangeFileInfo": {"Storage": {"Path": "/secret-of-the-hook/x"}}}),
    "not found": Answer(raw=b"secret-of-the-hook", status=404),
    "a redirect": Answer(raw=b"secret-of-the-hook", status=307, headers=(("Location", "/elsewhere"),)),
}


@pytest.mark.parametrize("invalid", INVALID)
async def test_an_invalid_response_is_a_failed_hook_500(
    server: RunningServer, receiver: Receiver, invalid: str
) -> None:
    """The client gets none of the response; the hook is not repeated."""
    receiver.answers["pre-create"] = INVALID[invalid]
    answer = await post(server)
    assert (answer.status, answer.body.split(b":")[0]) == (500, b"ERR_HOOK_FAILED")
    assert b"secret" not in answer.body and "secret" not in str(answer.headers)
    assert len(receiver.calls) == len(receiver.of("authorize")) + 1
    assert {call.path for call in receiver.calls} == {"/hooks"}


EMPTY_RESPONSES = {"nothing at all": Answer(raw=b"", content_type=None), "204": Answer(status=204, content_type=None)}


@pytest.mark.parametrize("empty", EMPTY_RESPONSES)
async def test_an_empty_response_accepts(server: RunningServer, receiver: Receiver, empty: str) -> None:
    """tusd fails here; for this server an empty 2xx changes nothing."""
    receiver.answers["pre-create"] = EMPTY_RESPONSES[empty]
    assert (await post(server)).status == 201


TEMPORARY = {"500": Answer(status=500), "503": Answer(status=503), "cut": CUT, "hang": HANG}


@pytest.mark.parametrize("temporary", TEMPORARY)
async def test_temporary_failures_are_retried(server: RunningServer, receiver: Receiver, temporary: str) -> None:
    """After a 5xx, an incomplete response and a missing one the next attempt counts."""
    first = TEMPORARY[temporary]
    receiver.answers["pre-create"] = [first, first, Answer({"HTTPResponse": {"Header": {"X-Try": "3"}}})]
    answer = await post(server)
    assert (answer.status, answer.headers.get("x-try")) == (201, "3")
    assert len(receiver.of("pre-create")) == 3


async def test_attempts_are_limited(server: RunningServer, receiver: Receiver) -> None:
    """``http_retry`` is the number of attempts in all."""
    receiver.answers["pre-create"] = Answer(raw=b"secret", status=502)
    assert (await post(server)).status == 500
    assert len(receiver.of("pre-create")) == 3


async def test_configured_headers_are_forwarded(server: RunningServer, receiver: Receiver) -> None:
    """These headers of the client, and no others, are sent with the hook request."""
    await post(server, x_tenant="7", cookie="a=b", authorization="Bearer x")
    [call] = receiver.of("pre-create")
    assert [pair for pair in call.headers if pair[0].lower() == "x-tenant"] == [("x-Tenant", "7")]
    assert (call.header("cookie"), call.header("authorization")) == (["a=b"], [])
    assert call.request["Header"]["Authorization"] == ["Bearer x"]


@pytest.mark.parametrize(
    "first", [Answer(raw=b"secret", status=404), [HANG] * 3, [CUT] * 3], ids=["fails", "hangs", "is cut"]
)
@pytest.mark.parametrize("again", ["HEAD", "PATCH"])
async def test_a_failed_pre_finish_is_repeated(
    server: RunningServer, receiver: Receiver, first: Any, again: str
) -> None:
    """Every byte is stored; the client gets 500, and its next request invokes the hook again."""
    url = await create(server.url, 4)
    receiver.answers["pre-finish"] = [first] if isinstance(first, Answer) else list(first)
    failed = await request("PATCH", url, patch_headers(0), b"0123")
    assert (failed.status, b"secret" in failed.body) == (500, False)
    receiver.answers["pre-finish"] = Answer({"HTTPResponse": {"Header": {"X-File": "9"}}})
    calls_before = len(receiver.of("pre-finish"))
    headers = patch_headers(4) if again == "PATCH" else TUS
    answer = await request(again, url, headers)
    assert (answer.status, answer.offset) == ({"HEAD": 200, "PATCH": 204}[again], 4)
    assert answer.headers.get("x-file") == ("9" if again == "PATCH" else None)
    assert len(receiver.of("pre-finish")) == calls_before + 1
    last = receiver.of("pre-finish")[-1]
    assert (last.upload["Offset"], last.upload["Size"], last.request["Method"]) == (4, 4, again)
    assert server.stored(url) == b"0123"
    await request("HEAD", url)
    assert len(receiver.of("pre-finish")) == calls_before + 1


async def test_pre_terminate_rejects_400(server: RunningServer, receiver: Receiver) -> None:
    """The request has the recorded upload and its storage; a refused termination keeps the upload."""
    url = await create(server.url, 4)
    receiver.answers["pre-terminate"] = Answer({"RejectTermination": True})
    refused = await request("DELETE", url)
    assert (refused.status, refused.body.split(b":")[0]) == (400, b"ERR_UPLOAD_TERMINATION_REJECTED")
    [call] = receiver.of("pre-terminate")
    path = str((server.data_dir / "uploads" / call.upload["ID"]).absolute())
    assert url.endswith(call.upload["ID"])
    assert call.upload["Storage"] == {"Type": "filestore", "Path": path, "InfoPath": path + ".info"}
    receiver.answers.clear()
    assert (await request("DELETE", url)).status == 204


async def test_authorize_every_request_403(server: RunningServer, receiver: Receiver) -> None:
    """Except OPTIONS; the 403 is the same whether the upload exists or not."""
    url = await create(server.url, 4)
    await request("PATCH", url, patch_headers(0), b"0123")
    receiver.calls.clear()
    await request("OPTIONS", url)
    assert receiver.calls == []
    receiver.answers["authorize"] = Answer({"RejectRequest": True})
    methods = ("HEAD", "GET", "DELETE", "PATCH")
    responses = [
        await request(method, target, *((patch_headers(0), b"0123") if method == "PATCH" else ()))
        for target in (url, server.url + "unknown")
        for method in methods
    ]
    assert {answer.status for answer in responses} == {403}
    assert responses[1].body == responses[5].body == b"ERR_ACCESS_DENIED: this request is not allowed\n"
    invoked = [(call.hook, call.request["Method"], (call.upload or {}).get("Offset")) for call in receiver.calls]
    assert invoked == [("authorize", method, offset) for offset in (4, None) for method in methods]
    assert (await post(server)).status == 403
    assert receiver.calls[-1].upload is None


async def test_a_refused_request_interrupts_no_upload(server: RunningServer, receiver: Receiver) -> None:
    """While a client uploads, a refused DELETE is answered at once and the upload continues."""
    url = await create(server.url, 4)
    connection = await Connection.open(url)
    await connection.send_head("PATCH", url, {**patch_headers(0), "Content-Length": "4"})
    await connection.send(b"01")
    await eventually(lambda: receiver.calls[-1].request["Method"] == "PATCH")
    response = {"StatusCode": 401, "Header": {"WWW-Authenticate": "Basic"}}
    receiver.answers["authorize"] = Answer({"HTTPResponse": response})
    refused = await request("DELETE", url)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Basic")
    await connection.send(b"23")
    answer = await connection.answer()
    connection.close()
    assert (answer.status, answer.offset) == (204, 4)


async def test_invocations_and_errors_are_counted(server: RunningServer, receiver: Receiver) -> None:
    """One invocation for each hook, whatever the number of attempts; a failure counts once."""

    async def counts() -> dict[str, float]:
        lines = (await request("GET", f"{server.root}/metrics", {})).body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    before = await counts()
    receiver.answers["pre-create"] = Answer(status=500)
    await post(server)
    after = await counts()
    for name in ("invocations", "errors"):
        key = f'tusd_hook_{name}_total{{hooktype="pre-create"}}'
        assert after[key] - before.get(key, 0) == 1


async def test_several_urls_are_invoked_in_order(tmp_path: Path) -> None:
    """The second gets the changes of the first and wins; the first refusal ends the sequence."""
    with receiving() as first, receiving() as second:
        server = start_server(tmp_path / "data", settings={"HOOKS__HTTP_URLS": f"{first.url},{second.url}"})
        try:
            changes = {"MetaData": {"a": "1"}, "Storage": {"Path": "p/x.txt"}}
            first.answers["pre-create"] = Answer(
                {"ChangeFileInfo": changes, "HTTPResponse": {"Header": {"X-A": "1", "X-B": "1"}}}
            )
            second.answers["pre-create"] = Answer({"HTTPResponse": {"Header": {"X-B": "2"}}})
            created = await post(server)
            assert (created.headers["x-a"], created.headers["x-b"]) == ("1", "2")
            path = str(server.data_dir / "uploads" / "p" / "x.txt")
            upload = second.calls[0].upload
            assert (upload["ID"], upload["MetaData"], upload["Storage"]["Path"]) == ("", {"a": "1"}, path)
            first.answers["pre-create"] = Answer({"RejectUpload": True})
            assert (await post(server)).status == 400
            assert len(second.calls) == 1
        finally:
            server.kill()
