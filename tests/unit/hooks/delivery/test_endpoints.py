"""The endpoints for events that the settings configure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tusd_py.contracts.webhooks import WebhookEndpoint
from tusd_py.hooks.delivery.endpoints import configured_endpoints
from tusd_py.model.events import EventType
from tusd_py.settings import Settings

TUSDS = {EventType.POST_CREATE, EventType.POST_RECEIVE, EventType.POST_FINISH, EventType.POST_TERMINATE}


def endpoints(**sections: Any) -> tuple[WebhookEndpoint, ...]:
    return configured_endpoints(Settings.model_validate(sections))


def table(**more: Any) -> dict[str, Any]:
    return {"endpoints": [{"name": "library", "url": "https://h/x", **more}]}


def test_no_endpoints_by_default() -> None:
    """The default list of enabled hooks configures no endpoint by itself."""
    assert endpoints() == ()


def test_a_webhook_has_the_settings_of_its_table() -> None:
    """Every key of the table reaches the endpoint."""
    secrets = ("whsec_" + "A" * 32,)
    keys = {
        "secrets": secrets,
        "timeout_seconds": 3,
        "concurrency": 2,
        "allow_private": True,
        "body": "tusd",
        "ordered": False,
    }
    (endpoint,) = endpoints(webhooks=table(events=["post-finish"], **keys))
    assert endpoint == WebhookEndpoint(
        name="library",
        types=frozenset({EventType.POST_FINISH}),
        url="https://h/x",
        body="tusd",
        secrets=secrets,
        timeout_seconds=3,
        concurrency=2,
        allow_private=True,
        is_ordered=False,
    )


def test_defaults_of_a_webhook_are_safe() -> None:
    """The envelope, no private addresses, verified certificates, and none of the privileges of tusd's hooks."""
    (endpoint,) = endpoints(webhooks=table())
    assert (endpoint.body, endpoint.allow_private, endpoint.verifies) == ("envelope", False, True)
    assert not endpoint.is_tusd_hook
    assert endpoint.types == set(EventType) - {EventType.POST_RECEIVE, EventType.CODE_EXPIRING}


def test_patterns_select_event_types() -> None:
    """Each type that any pattern matches, once."""
    (endpoint,) = endpoints(webhooks=table(events=["upload.re*", "upload.ready", "post-create"]))
    assert endpoint.types == {EventType.UPLOAD_READY, EventType.UPLOAD_REJECTED, EventType.POST_CREATE}


def test_hook_urls_get_enabled_events() -> None:
    """Only hooks that are events, with the settings of ``hooks``; private addresses are allowed."""
    (endpoint,) = endpoints(
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


def test_an_endpoint_without_events_is_omitted() -> None:
    """With only blocking hooks enabled there are no deliveries."""
    assert (
        endpoints(hooks={"http_urls": ["http://h/x"], "executables_dir": "d", "enabled_events": ["pre-create"]}) == ()
    )


def test_names_of_hook_urls_are_unique_and_without_secrets() -> None:
    """No password and no query; a second URL with the same name gets a number."""
    urls = ["https://me:secret@h:1/x?token=secret", "https://h:1/x?token=other", "https://h:1/y"]
    found = endpoints(hooks={"http_urls": urls})
    assert ["https://h:1/x", "https://h:1/x (2)", "https://h:1/y"] == [endpoint.name for endpoint in found]
    assert urls == [endpoint.url for endpoint in found]


def test_names_do_not_depend_on_the_order() -> None:
    """Waiting jobs keep their endpoint when another URL is added before it."""
    before = {endpoint.name for endpoint in endpoints(hooks={"http_urls": ["http://h/x"]})}
    after = {endpoint.name for endpoint in endpoints(hooks={"http_urls": ["http://g/x", "http://h/x"]})}
    assert before < after


def test_programs_may_run_for_an_hour() -> None:
    """The limit of blocking hooks, for which a client waits, is not that of programs that get events."""
    (programs,) = endpoints(hooks={"executables_dir": "d", "timeout_seconds": 1})
    assert programs.timeout_seconds == 3600


def test_programs_are_one_endpoint() -> None:
    """Its directory is absolute, since the worker may run elsewhere; it comes after webhooks and URLs."""
    found = endpoints(
        hooks={"executables_dir": "d", "http_urls": ["http://h/x"], "program_timeout_seconds": 6}, webhooks=table()
    )
    assert ["library", "http://h/x", "hooks.executables_dir"] == [endpoint.name for endpoint in found]
    assert (found[2].executables_dir, found[2].url, found[2].timeout_seconds) == (str(Path("d").absolute()), "", 6)
    assert found[2].types == TUSDS
    assert [True, False, False] == [endpoint.is_ordered for endpoint in found]
    assert found[2].is_tusd_hook
