"""Who is told of events, as settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tusd_py.hooks.delivery.endpoints import WebhookEndpoint, configured_endpoints
from tusd_py.model.events import EventType
from tusd_py.settings import Settings

TUSDS = {EventType.POST_CREATE, EventType.POST_RECEIVE, EventType.POST_FINISH, EventType.POST_TERMINATE}


def told(**sections: Any) -> tuple[WebhookEndpoint, ...]:
    return configured_endpoints(Settings.model_validate(sections))


def table(**more: Any) -> dict[str, Any]:
    return {"endpoints": [{"name": "library", "url": "https://h/x", **more}]}


def test_by_default_nobody_is_told() -> None:
    """The default list of hooks names no endpoint by itself."""
    assert told() == ()


def test_an_endpoint_is_told_as_its_table_says() -> None:
    """Every key of the table reaches its endpoint."""
    secrets = ("whsec_" + "A" * 32,)
    keys = {"secrets": secrets, "timeout_seconds": 3, "concurrency": 2, "allow_private": True, "body": "tusd"}
    (endpoint,) = told(webhooks=table(events=["post-finish"], **keys))
    assert endpoint == WebhookEndpoint(
        name="library",
        types=frozenset({EventType.POST_FINISH}),
        url="https://h/x",
        body="tusd",
        secrets=secrets,
        timeout_seconds=3,
        concurrency=2,
        allow_private=True,
    )


def test_an_endpoint_is_careful_unless_told_otherwise() -> None:
    """It has the envelope, no private address, certificates that are looked at, and none of tusd's rights."""
    (endpoint,) = told(webhooks=table())
    assert (endpoint.body, endpoint.allow_private, endpoint.verifies) == ("envelope", False, True)
    assert not endpoint.is_tusd_hook
    assert endpoint.types == set(EventType) - {EventType.POST_RECEIVE}


def test_patterns_name_types() -> None:
    """Each type that some pattern fits, once."""
    (endpoint,) = told(webhooks=table(events=["upload.re*", "upload.ready", "post-create"]))
    assert endpoint.types == {EventType.UPLOAD_READY, EventType.UPLOAD_REJECTED, EventType.POST_CREATE}


def test_tusds_urls_are_told_what_is_enabled() -> None:
    """Only of hooks that are events, with the settings of ``hooks``; the operator's own addresses are allowed."""
    (endpoint,) = told(
        hooks={
            "http_urls": ["http://127.0.0.1/x"],
            "enabled_events": ["pre-create", "post-finish"],
            "http_skip_verify": True,
            "http_forward_headers": ["Cookie"],
            "http_timeout_seconds": 4,
            "http_size_limit_bytes": 77,
        }
    )
    assert endpoint.types == {EventType.POST_FINISH}
    assert (endpoint.is_tusd_hook, endpoint.allow_private, endpoint.verifies, endpoint.body) == (
        True,
        True,
        False,
        "tusd",
    )
    assert (endpoint.timeout_seconds, endpoint.response_bytes_max) == (4, 77)
    assert [name.lower() for name in endpoint.forward_headers] == ["cookie"]


def test_who_is_told_of_nothing_is_no_receiver() -> None:
    """With only blocking hooks enabled there is nobody for the worker to tell."""
    assert told(hooks={"http_urls": ["http://h/x"], "executables_dir": "d", "enabled_events": ["pre-create"]}) == ()


def test_names_of_urls_hold_no_secret_and_are_each_ones_own() -> None:
    """No password and no query; a second URL that looks the same gets a number."""
    urls = ["https://me:secret@h:1/x?token=secret", "https://h:1/x?token=other", "https://h:1/y"]
    found = told(hooks={"http_urls": urls})
    assert ["https://h:1/x", "https://h:1/x (2)", "https://h:1/y"] == [endpoint.name for endpoint in found]
    assert urls == [endpoint.url for endpoint in found]


def test_a_name_does_not_change_with_its_place() -> None:
    """What waits for one endpoint stays its own when another is named before it."""
    before = {endpoint.name for endpoint in told(hooks={"http_urls": ["http://h/x"]})}
    after = {endpoint.name for endpoint in told(hooks={"http_urls": ["http://g/x", "http://h/x"]})}
    assert before < after


def test_programs_are_one_receiver() -> None:
    """Their directory is absolute, for the worker may run elsewhere; it is told after endpoints and URLs."""
    found = told(hooks={"executables_dir": "d", "http_urls": ["http://h/x"], "timeout_seconds": 6}, webhooks=table())
    assert ["library", "http://h/x", "hooks.executables_dir"] == [endpoint.name for endpoint in found]
    assert (found[2].executables_dir, found[2].url, found[2].timeout_seconds) == (Path("d").absolute(), "", 6)
    assert found[2].types == TUSDS
    assert found[2].is_tusd_hook
