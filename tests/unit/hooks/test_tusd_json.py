"""tusd's JSON: what a hook is told, field by field, and what its answer means."""

from __future__ import annotations

import json
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


def told(hook: Hook = Hook.PRE_FINISH, upload: Upload | None = UPLOAD, caller: Caller | None = CALLER) -> Any:
    return json.loads(format_event(hook, upload, caller, {"Type": "filestore", "Path": "/d/u1"}))


def test_a_request_is_told_as_go_sees_it() -> None:
    """Names in Go's form, values in lists in the order they came, bytes that are no text replaced."""
    assert told()["Event"]["HTTPRequest"] == {
        "Method": "PATCH",
        "URI": "/files/u1?a=ä",
        "RemoteAddr": "10.0.0.1:5",
        "Header": {"Etag": ["ä\ufffd"], "Host": ["h:1"], "X-1a--B": [""], "X-B": ["1", "2"]},
    }
    assert told(caller=None)["Event"]["HTTPRequest"] == {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}


def test_an_upload_is_told_with_all_its_fields() -> None:
    """Each under tusd's name; the type of the hook beside it."""
    assert told()["Type"] == "pre-finish"
    assert told()["Event"]["Upload"] == {
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
    assert told(Hook.AUTHORIZE, None)["Event"]["Upload"] is None


def test_kinds_lengths_and_metadata_of_uploads() -> None:
    """A deferred length is 0; parts are told of a final upload alone; metadata that is no text is replaced."""
    header = f"b {b64encode(b'x').decode()},a {b64encode(bytes([0xFF])).decode()},c"
    deferred = told(upload=replace(UPLOAD, length=None, metadata_header=header))["Event"]["Upload"]
    assert (deferred["Size"], deferred["SizeIsDeferred"]) == (0, True)
    assert list(deferred["MetaData"].items()) == [("a", "\ufffd"), ("b", "x"), ("c", "")]
    partial = told(upload=replace(UPLOAD, kind=Kind.PARTIAL))["Event"]["Upload"]
    assert (partial["IsPartial"], partial["IsFinal"], partial["PartialUploads"]) == (True, False, None)
    final = told(upload=replace(UPLOAD, kind=Kind.FINAL, parts=("p2", "p1")))["Event"]["Upload"]
    assert (final["IsPartial"], final["IsFinal"], final["PartialUploads"]) == (False, True, ["p2", "p1"])
    assert told(upload=replace(UPLOAD, metadata_header="not base64,,"))["Event"]["Upload"]["MetaData"] == {}


def answer(said: object, hook: Hook = Hook.PRE_CREATE) -> HookResponse:
    return parse_response(hook, json.dumps(said).encode())


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"null", b'{"HTTPResponse":null,"Other":[1]}'])
@pytest.mark.parametrize("hook", [Hook.AUTHORIZE, Hook.PRE_CREATE, Hook.PRE_FINISH, Hook.PRE_TERMINATE])
def test_what_says_nothing_changes_nothing(hook: Hook, body: bytes) -> None:
    """Nothing at all, an empty object, null, and keys that nobody knows."""
    assert parse_response(hook, body) == HookResponse()


def test_each_field_has_its_hook() -> None:
    """A refusal or a change meant for another hook is none, as in tusd."""
    assert answer({"RejectUpload": True}).reject
    assert not answer({"RejectUpload": True}, Hook.PRE_TERMINATE).reject
    assert answer({"RejectTermination": True}, Hook.PRE_TERMINATE).reject
    assert not answer({"RejectTermination": True}).reject
    assert answer({"StopUpload": True}, Hook.POST_RECEIVE).stop
    assert not answer({"StopUpload": True}).stop
    assert answer({"ChangeFileInfo": {"ID": "x", "Owner": "ann"}}, Hook.PRE_FINISH) == HookResponse()
    assert answer({"ChangeFileInfo": {"Owner": "ann"}}) == HookResponse(owner="ann")


@pytest.mark.parametrize(
    "said",
    [
        {"RejectRequest": True},
        {"RejectUpload": True},
        {"rejecttermination": True},
        {"HTTPResponse": {"StatusCode": 401}},
    ],
)
def test_leave_is_not_given_by_mistake(said: object) -> None:
    """Whatever looks like a refusal of authorize is one."""
    assert answer(said, Hook.AUTHORIZE).reject


def test_keys_are_read_without_regard_to_case() -> None:
    """But not those of metadata and headers, which are the receiver's own."""
    said = {"httpresponse": {"STATUSCODE": 409, "body": "b", "header": {"x-A": "1"}}, "changeFileInfo": {"id": "i"}}
    overlay = ResponseOverride(status=409, body="b", headers={"x-A": "1"})
    assert answer(said) == HookResponse(upload_id="i", override=overlay)
    assert answer({"CHANGEFILEINFO": {"METADATA": {"A": "1", "a": "2"}}}).metadata == {"A": "1", "a": "2"}
    assert answer({"RejectUpload": True, "rejectupload": None}).reject


def test_what_is_empty_is_absent_but_for_metadata() -> None:
    """0 and empty texts change nothing; empty metadata clears it, absent metadata is kept."""
    nothing = {"HTTPResponse": {"StatusCode": 0, "Body": "", "Header": {}}, "ChangeFileInfo": {"ID": "", "Owner": ""}}
    assert answer(nothing) == HookResponse()
    assert answer({"ChangeFileInfo": {"MetaData": None}}).metadata is None
    assert answer({"ChangeFileInfo": {"MetaData": {}}}).metadata == {}
    assert answer({"ChangeFileInfo": {"MetaData": {"a": None}}}).metadata == {"a": ""}


def test_text_that_no_header_could_carry_is_made_text() -> None:
    """Half a surrogate pair, and bytes that are no UTF-8, are replaced as Go replaces them."""
    overlay = parse_response(Hook.PRE_CREATE, b'{"HTTPResponse":{"Body":"\\ud800x\xff"}}').override
    assert overlay is not None
    assert overlay.body == "\ufffdx\ufffd"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ([], "the answer"),
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
def test_a_wrong_type_is_refused_by_name(said: object, named: str) -> None:
    """The log tells the receiver's author which field it is."""
    with pytest.raises(HookFailed) as failed:
        answer(said)
    assert named in str(failed.value)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[" * 5000, b"<html>", b"{} {}", b"1" * 5000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """However it is broken; what is quoted of it is short."""
    with pytest.raises(HookFailed) as failed:
        parse_response(Hook.PRE_CREATE, body)
    assert len(str(failed.value)) < 700
