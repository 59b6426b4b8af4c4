"""The sentences about mistakes in the endpoints of webhooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tusd_py.settings import SettingsError, load


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"url": "http://h/"}, "webhooks.endpoints, number 1: name (TUSD_PY_WEBHOOKS__ENDPOINTS) is missing"),
        ({"name": "a", "url": "http://h/", "x": 1}, "number 1: x (TUSD_PY_WEBHOOKS__ENDPOINTS) is not a setting"),
        (
            {"name": "a", "url": "h"},
            "number 1: url (TUSD_PY_WEBHOOKS__ENDPOINTS) must be an absolute http or https URL",
        ),
        (
            {"name": "A", "url": "http://h/"},
            "number 1: name (TUSD_PY_WEBHOOKS__ENDPOINTS) must be a name of lower-case",
        ),
        ({"name": "a", "url": "http://h/", "events": ["x.*"]}, "must be a list of event types"),
        ({"name": "a", "url": "http://h/", "secrets": ["whsec_hush"]}, "must be a list of keys"),
    ],
)
def test_invalid_endpoint(endpoint: dict[str, object], expected: str) -> None:
    """The sentence names the endpoint's number and the key, and contains none of its values."""
    text = json.dumps([{"secrets": ["whsec_hush" + "A" * 32], **endpoint}])
    with pytest.raises(SettingsError) as raised:
        load(None, {"TUSD_PY_WEBHOOKS__ENDPOINTS": text})
    (problem,) = raised.value.problems
    assert expected in problem
    assert "hush" not in problem


def test_wrong_url_of_an_endpoint_is_answered_with_one_url(tmp_path: Path) -> None:
    """The sentence about one URL does not ask for a list."""
    config = tmp_path / "config.toml"
    config.write_text('[[webhooks.endpoints]]\nname = "a"\nurl = "ftp://a.example/"\n')
    with pytest.raises(SettingsError, match="must be an absolute http or https URL such as"):
        load(config)
