"""Any response of a hook is valid or a failure of the hook, and nothing else."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import EPOCH
from tusd_py.contracts.hooks import HookFailed
from tusd_py.hooks.tusd_json import parse_response
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.metadata import parse_metadata
from tusd_py.protocol.responses import Response, apply_override

NAMES = [
    *("HTTPResponse", "StatusCode", "Body", "Header", "RejectUpload", "RejectTermination", "RejectRequest"),
    *("StopUpload", "ChangeFileInfo", "ID", "MetaData", "Storage", "Path", "Owner"),
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 700), st.integers(), st.floats(), st.text(st.characters(), max_size=8)
)
KEYS = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES).map(str.lower), st.text(max_size=4))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5))
)
#: Like an answer, so that values get beyond the outermost braces.
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "RejectUpload": st.booleans(),
        "httpResponse": st.fixed_dictionaries(
            {}, optional={"StatusCode": st.integers(-1, 700), "body": LEAVES, "Header": VALUES}
        ),
        "ChangeFileInfo": st.fixed_dictionaries(
            {},
            optional={
                "ID": st.text(max_size=5),
                "Owner": LEAVES,
                "MetaData": st.dictionaries(KEYS, LEAVES, max_size=3),
            },
        ),
    },
)
HOOKS = st.sampled_from(list(Hook))
BODIES = st.one_of(
    st.binary(max_size=200), VALUES.map(json.dumps).map(str.encode), ANSWERS.map(json.dumps).map(str.encode)
)


@given(HOOKS, BODIES)
def test_any_hook_response_is_valid_or_fails(hook: Hook, body: bytes) -> None:
    """There is no other exception, and an accepted response gives a valid upload and a valid HTTP response."""
    try:
        answer = parse_response(hook, body)
    except HookFailed:
        return
    upload = answer.applied_to(Upload(id="u", length=1, created_at=EPOCH, updated_at=EPOCH))
    parse_metadata(upload.metadata_header)
    response = apply_override(Response(201, []), answer.override)
    assert 200 <= response.status <= 599
    assert isinstance(response.body, bytes)
    (upload.metadata_header or "").encode("latin-1")
    assert upload.owner.encode().decode() == upload.owner
