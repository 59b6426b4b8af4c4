"""tusd's JSON: the request of a hook, field by field, and the meaning of its response."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tusd_py.contracts.hooks import HookFailed, HookResponse
from tusd_py.hooks.tusd_json import format_event, parse_response
from tusd_py.model.caller import Caller
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.outcomes import ResponseOverride

UPLOAD = Upload(id="u1", length=10, offset=4, created_at=EPOCH, updated_at=EPOCH)
CALLER = Caller(
    remote_address="10.0.0.1:5",
    method="PATCH",
    target="/files/u1?a=\xc3\xa4",
    headers=[(b"x-b", b"1"), (b"host", b"h:1"), (b"x-b", b"2"), (b"etag", b"\xc3\xa4\xff"), (b"x-1a--b", b"")],
)


def formatted(hook: Hook = Hook.PRE_FINISH, upload: Upload | None = UPLOAD, caller: Caller | None = CALLER) -> Any:
    return json.loads(format_event(hook, upload, caller, {"Type": "filestore", "Path": "/d/u1"}))


def test_http_request_is_written_as_by_go() -> None:
    """Header names in Go's form, values in lists in their order, invalid UTF-8 replaced."""
    assert formatted()["Event"]["HTTPRequest"] == {
        "Method": "PATCH",
        "URI": "/files/u1?a=ä",
        "RemoteAddr": "10.0.0.1:5",
        "Header": {"Etag": ["ä\ufffd"], "Host": ["h:1"], "X-1a--B": [""], "X-B": ["1", "2"]},
    }
    assert formatted(caller=None)["Event"]["HTTPRequest"] == {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}


def test_upload_has_all_fields() -> None:
    """Each under tusd's name, beside the type of the hook."""
    assert formatted()["Type"] == "pre-finish"
    assert formatted()["Event"]["Upload"] == {
        "ID": "u1",
        "Size": 10,
        "SizeIsDeferred": False,
        "Offset": 4,
        "MetaData": {},
        "IsPartial": False,
        "IsFinal": False,
        "PartialUploads": None,
        "Storage": {"Type": "filestore", "Path": "/d/u1"},
    }
    assert formatted(Hook.AUTHORIZE, None)["Event"]["Upload"] is None


def test_paths_that_are_not_utf8() -> None:
    """JSON cannot hold such a path: its bytes are replaced as Go does, and the hook is called all the same."""
    body = format_event(Hook.PRE_FINISH, UPLOAD, CALLER, {"Path": os.fsdecode(b"/caf\xe9/u1")})
    assert json.loads(body.decode())["Event"]["Upload"]["Storage"] == {"Path": "/caf\ufffd/u1"}


def test_kinds_lengths_and_metadata_of_uploads() -> None:
    """A deferred length is 0; only final uploads have parts; invalid UTF-8 in metadata is replaced."""
    header = f"b {b64encode(b'x').decode()},a {b64encode(bytes([0xFF])).decode()},c"
    deferred = formatted(upload=replace(UPLOAD, length=None, metadata_header=header))["Event"]["Upload"]
    assert (deferred["Size"], deferred["SizeIsDeferred"]) == (0, True)
    assert list(deferred["MetaData"].items()) == [("a", "\ufffd"), ("b", "x"), ("c", "")]
    partial = formatted(upload=replace(UPLOAD, kind=Kind.PARTIAL))["Event"]["Upload"]
    assert (partial["IsPartial"], partial["IsFinal"], partial["PartialUploads"]) == (True, False, None)
    final = formatted(upload=replace(UPLOAD, kind=Kind.FINAL, parts=("p2", "p1")))["Event"]["Upload"]
    assert (final["IsPartial"], final["IsFinal"], final["PartialUploads"]) == (False, True, ["p2", "p1"])
    assert formatted(upload=replace(UPLOAD, metadata_header="not base64,,"))["Event"]["Upload"]["MetaData"] == {}


def parsed(response: object, hook: Hook = Hook.PRE_CREATE) -> HookResponse:
    return parse_response(hook, json.dumps(response).encode())


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"null", b'{"HTTPResponse":null,"Other":[1]}'])
@pytest.mark.parametrize("hook", [Hook.AUTHORIZE, Hook.PRE_CREATE, Hook.PRE_FINISH, Hook.PRE_TERMINATE])
def test_empty_responses_change_nothing(hook: Hook, body: bytes) -> None:
    """No body, an empty object, null, and unknown keys."""
    assert parse_response(hook, body) == HookResponse()


def test_fields_of_other_hooks_are_ignored() -> None:
    """As in tusd, a refusal or a change counts only in the response of its own hook."""
    assert parsed({"RejectUpload": True}).reject
    assert not parsed({"RejectUpload": True}, Hook.PRE_TERMINATE).reject
    assert parsed({"RejectTermination": True}, Hook.PRE_TERMINATE).reject
    assert not parsed({"RejectTermination": True}).reject
    assert parsed({"StopUpload": True}, Hook.POST_RECEIVE).stop
    assert not parsed({"StopUpload": True}).stop
    assert parsed({"ChangeFileInfo": {"ID": "x", "Owner": "ann"}}, Hook.PRE_FINISH) == HookResponse()
    assert parsed({"ChangeFileInfo": {"Owner": "ann"}}) == HookResponse(owner="ann")


@pytest.mark.parametrize(
    "response",
    [
        {"RejectRequest": True},
        {"RejectUpload": True},
        {"rejecttermination": True},
        {"HTTPResponse": {"StatusCode": 401}},
    ],
)
def test_authorize_accepts_every_form_of_refusal(response: object) -> None:
    """So that a receiver which rejects by another key does not grant access."""
    assert parsed(response, Hook.AUTHORIZE).reject


def test_keys_are_case_insensitive() -> None:
    """Except for keys of metadata and names of headers, which are kept."""
    response = {"httpresponse": {"STATUSCODE": 409, "body": "b", "header": {"x-A": "1"}}, "changeFileInfo": {"id": "i"}}
    override = ResponseOverride(status=409, body="b", headers={"x-A": "1"})
    assert parsed(response) == HookResponse(upload_id="i", override=override)
    assert parsed({"CHANGEFILEINFO": {"METADATA": {"A": "1", "a": "2"}}}).metadata == {"A": "1", "a": "2"}
    assert parsed({"RejectUpload": True, "rejectupload": None}).reject


def test_empty_values_are_absent_except_metadata() -> None:
    """0 and empty strings change nothing; empty metadata clears it, absent metadata keeps it."""
    nothing = {"HTTPResponse": {"StatusCode": 0, "Body": "", "Header": {}}, "ChangeFileInfo": {"ID": "", "Owner": ""}}
    assert parsed(nothing) == HookResponse()
    assert parsed({"ChangeFileInfo": {"MetaData": None}}).metadata is None
    assert parsed({"ChangeFileInfo": {"MetaData": {}}}).metadata == {}
    assert parsed({"ChangeFileInfo": {"MetaData": {"a": None}}}).metadata == {"a": ""}


def test_invalid_unicode_is_replaced() -> None:
    """Half a surrogate pair and invalid UTF-8 are replaced as by Go."""
    override = parse_response(Hook.PRE_CREATE, b'{"HTTPResponse":{"Body":"\\ud800x\xff"}}').override
    assert override is not None
    assert override.body == "\ufffdx\ufffd"


@pytest.mark.parametrize(
    ("response", "named"),
    [
        ([], "the response"),
        ({"RejectUpload": 1}, "RejectUpload"),
        ({"RejectUpload": "true"}, "RejectUpload"),
        ({"HTTPResponse": []}, "HTTPResponse"),
        ({"HTTPResponse": {"StatusCode": "400"}}, "StatusCode"),
        ({"HTTPResponse": {"StatusCode": 400.0}}, "StatusCode"),
        ({"HTTPResponse": {"StatusCode": True}}, "StatusCode"),
        ({"HTTPResponse": {"StatusCode": 99}}, "99"),
        ({"HTTPResponse": {"Body": {}}}, "Body"),
        ({"HTTPResponse": {"Header": {"X": ["1"]}}}, "Header['X']"),
        ({"HTTPResponse": {"Header": ["X"]}}, "Header"),
        ({"ChangeFileInfo": "x"}, "ChangeFileInfo"),
        ({"ChangeFileInfo": {"ID": 7}}, "ID"),
        ({"ChangeFileInfo": {"ID": "../x"}}, "../x"),
        ({"ChangeFileInfo": {"Owner": 7}}, "Owner"),
        ({"ChangeFileInfo": {"Owner": "a" * 256}}, "at most 255 characters"),
        ({"ChangeFileInfo": {"Owner": "a\nb"}}, "no control characters"),
        ({"ChangeFileInfo": {"MetaData": {"a": 1}}}, "MetaData['a']"),
        ({"ChangeFileInfo": {"MetaData": {"a b": ""}}}, "metadata"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(response: object, named: str) -> None:
    """The reason names the key, for the author of the receiver."""
    with pytest.raises(HookFailed) as failed:
        parsed(response)
    assert named in str(failed.value)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[" * 5000, b"<html>", b"{} {}", b"1" * 5000])
def test_invalid_json_is_refused(body: bytes) -> None:
    """The failure quotes only a short part of it."""
    with pytest.raises(HookFailed) as failed:
        parse_response(Hook.PRE_CREATE, body)
    assert len(str(failed.value)) < 700


def test_parse_response_of_post_finish_moved() -> None:
    """post-finish may say where it has moved the file, by any path; other hooks may not."""
    body = {"ChangeFileInfo": {"Storage": {"Path": "C:\\archive\\a b"}}}
    assert parsed(body, Hook.POST_FINISH).moved_to == "C:\\archive\\a b"
    assert parsed(body, Hook.POST_RECEIVE).moved_to is None
    with pytest.raises(HookFailed, match="moved the bytes"):
        parsed({"ChangeFileInfo": {"Storage": {"Path": "/a\nb"}}}, Hook.POST_FINISH)
    with pytest.raises(HookFailed, match="moved the bytes"):
        parsed({"ChangeFileInfo": {"Storage": {"Path": "a" * 4097}}}, Hook.POST_FINISH)
