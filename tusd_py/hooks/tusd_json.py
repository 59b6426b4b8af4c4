"""The JSON of hook requests and responses in the format of tusd v2, for HTTP and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

from tusd_py.contracts.hooks import HookFailed, HookRequest, HookResponse
from tusd_py.hooks.responses import validate_response
from tusd_py.model.caller import Caller, HeaderList
from tusd_py.model.events import EventType
from tusd_py.model.hooks import Hook
from tusd_py.model.text import valid_unicode
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.errors import InvalidMetadata
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.outcomes import ResponseOverride

#: Output of hooks is quoted in the log up to this length.
EXCERPT_CHARACTERS_MAX = 500


def format_request(event: HookRequest, location: Callable[[Upload], Mapping[str, str]]) -> bytes:
    """The request of a blocking hook. An upload without an id has a location only if a hook has chosen its path."""
    upload = event.upload
    storage = location(upload) if upload is not None and (upload.id or upload.storage) else None
    return format_event(event.hook, upload, event.caller, storage)


def format_event(
    hook: Hook | EventType, upload: Upload | None, caller: Caller | None, storage: Mapping[str, str] | None
) -> bytes:
    """The body of a hook request, with the keys and values of tusd v2.

    ``storage`` says where the bytes are (``Store.location``); like tusd, pre-create has ``null``, since nothing is
    stored yet. Bytes of a path that are not UTF-8 become U+FFFD, as in Go. Without a ``caller`` the fields of
    ``HTTPRequest`` are empty.
    """
    if hook.value == Hook.POST_CREATE and upload is not None:
        # tusd sends it before it reads the body of a creation, and before it joins the parts of a final upload.
        upload = replace(upload, offset=0)
    event = {"Upload": None if upload is None else _upload(upload, storage), "HTTPRequest": _request(caller)}
    body = json.dumps({"Type": hook.value, "Event": event}, ensure_ascii=False, separators=(",", ":"))
    return valid_unicode(body).encode()


def _upload(upload: Upload, storage: Mapping[str, str] | None) -> dict[str, object]:
    return {
        "ID": upload.id,
        "Size": upload.length or 0,
        "SizeIsDeferred": upload.length is None,
        "Offset": upload.offset,
        "MetaData": _metadata(upload),
        "IsPartial": upload.kind is Kind.PARTIAL,
        "IsFinal": upload.kind is Kind.FINAL,
        "PartialUploads": list(upload.parts) if upload.kind is Kind.FINAL else None,
        "Storage": None if storage is None else dict(storage),
        # Our own additions to tusd's fields.
        **({"Owner": upload.owner} if upload.owner else {}),
        **({"Grant": upload.grant} if upload.grant else {}),
    }


def _metadata(upload: Upload) -> dict[str, str]:
    try:
        values = parse_metadata(upload.metadata_header)
    except InvalidMetadata:
        # Records imported from another server may hold metadata that this one refuses; tusd omits what it cannot read.
        return {}
    return {key: value.decode("utf-8", "replace") for key, value in sorted(values.items())}


def _request(caller: Caller | None) -> dict[str, object]:
    if caller is None:
        return {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}
    return {
        # tusd sends the method of the request line, and obeys X-HTTP-Method-Override in POST only.
        "Method": "POST" if any(name == b"x-http-method-override" for name, _ in caller.headers) else caller.method,
        "URI": caller.target.encode("latin-1").decode("utf-8", "replace"),
        "RemoteAddr": caller.remote_address,
        "Header": dict(sorted(header_lists(caller.headers).items())),
    }


def header_lists(headers: HeaderList) -> dict[str, list[str]]:
    """The values by name; names are written as Go writes them: ``upload-length`` is ``Upload-Length``."""
    lists: dict[str, list[str]] = {}
    for name, value in headers:
        lists.setdefault(canonical_header(name.decode("latin-1")), []).append(value.decode("utf-8", "replace"))
    return lists


def canonical_header(name: str) -> str:
    """``name`` with its first letter and each letter after a hyphen in upper case, all others in lower case."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def parse_response(hook: Hook, body: bytes) -> HookResponse:
    """Parse the response body of ``hook``; an empty body changes nothing. Raises ``HookFailed`` for invalid ones.

    As in Go, keys are case-insensitive, unknown keys are ignored, and ``null`` counts as absent.
    """
    if not body.strip():
        return HookResponse()
    response = _ResponseReader(hook, _json(hook, body)).response()
    problem = validate_response(response)
    if problem is not None:
        raise HookFailed(f"{hook} {problem}")
    return response


def _json(hook: Hook, body: bytes) -> object:
    try:
        value: object = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as failure:
        raise HookFailed(f"{hook} answered with what is not JSON: {excerpt(body)}") from failure
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def excerpt(output: bytes) -> str:
    """Quote the beginning of a hook's output for the log, with control characters escaped."""
    text = output.decode("utf-8", "replace")
    return repr(text[:EXCERPT_CHARACTERS_MAX]) + (" ..." if len(text) > EXCERPT_CHARACTERS_MAX else "")


class _ResponseReader:
    """Reads one response. A value of another type than tusd's raises ``HookFailed`` with the name of its key."""

    def __init__(self, hook: Hook, value: object) -> None:
        self._hook = hook
        self._root = self._object(value, "the response")

    def response(self) -> HookResponse:
        hook, root = self._hook, self._root
        rejects = {name: self._flag(root, name) for name in ("RejectUpload", "RejectTermination", "RejectRequest")}
        stop = self._flag(root, "StopUpload")
        override = self._override()
        changes = self._changes()
        if hook is Hook.AUTHORIZE:
            # Any form of refusal counts: a receiver that rejects by another key must not grant access by mistake.
            is_error = override is not None and override.status is not None and override.status >= 400
            reject = is_error or any(rejects.values())
            return HookResponse(reject=reject, owner=changes.owner, override=override)
        if hook is Hook.PRE_CREATE:
            return replace(changes, reject=rejects["RejectUpload"], override=override)
        if hook is Hook.PRE_TERMINATE:
            return HookResponse(reject=rejects["RejectTermination"], override=override)
        if hook is Hook.POST_FINISH:
            return HookResponse(moved_to=changes.storage_path, override=override)
        return HookResponse(stop=stop, override=override)

    def _override(self) -> ResponseOverride | None:
        response = self._object(self._root.get("httpresponse"), "HTTPResponse")
        status = response.get("statuscode")
        if status is not None and (isinstance(status, bool) or not isinstance(status, int)):
            self._refuse("HTTPResponse.StatusCode", "a whole number")
        body = self._text(response.get("body"), "HTTPResponse.Body")
        headers = self._texts(response.get("header"), "HTTPResponse.Header") or {}
        # Go does not distinguish absent from empty values, so neither changes anything.
        override = ResponseOverride(status=status or None, headers=headers, body=body or None)
        return None if override == ResponseOverride() else override

    def _changes(self) -> HookResponse:
        """The changes to a new upload. Absent metadata keeps the client's, ``{}`` clears it."""
        changes = self._object(self._root.get("changefileinfo"), "ChangeFileInfo")
        upload_id = self._text(changes.get("id"), "ChangeFileInfo.ID")
        metadata = self._texts(changes.get("metadata"), "ChangeFileInfo.MetaData")
        storage = self._texts(changes.get("storage"), "ChangeFileInfo.Storage") or {}
        # Our own addition to tusd's fields.
        owner = self._text(changes.get("owner"), "ChangeFileInfo.Owner")
        return HookResponse(
            upload_id=upload_id or None,
            metadata=metadata,
            storage_path=storage.get("Path") or None,
            owner=owner or None,
        )

    def _object(self, value: object, name: str) -> dict[str, object]:
        """The values by lower-case key; empty if ``value`` is absent."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(name, "an object")
        found: dict[str, object] = {}
        for key, item in value.items():
            if item is not None or key.casefold() not in found:
                found[key.casefold()] = item
        return found

    def _flag(self, values: Mapping[str, object], name: str) -> bool:
        value = values.get(name.casefold())
        if value is not None and not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value is True

    def _text(self, value: object, name: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            self._refuse(name, "text")
        # JSON can hold half a surrogate pair, but neither a response nor a record can.
        return valid_unicode(value)

    def _texts(self, value: object, name: str) -> dict[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            self._refuse(name, "an object")
        return {self._text(key, name): self._text(item, f"{name}[{key!r}]") for key, item in value.items()}

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise HookFailed(f"{self._hook} answered with {name} that is not {expected}")
