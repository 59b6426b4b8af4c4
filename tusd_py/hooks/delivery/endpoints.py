"""The endpoints that the settings configure for events: webhooks, and the URLs and programs of tusd's hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from tusd_py.contracts.webhooks import WebhookEndpoint
from tusd_py.model.events import EventType
from tusd_py.settings import Settings

_EXECUTABLES = "hooks.executables_dir"


def configured_endpoints(settings: Settings) -> tuple[WebhookEndpoint, ...]:
    """All endpoints that get any event. The name of each changes only if its own settings do."""
    endpoints = (*_webhooks(settings), *_hook_urls(settings), *_executables(settings))
    return tuple(endpoint for endpoint in endpoints if endpoint.types)


def _webhooks(settings: Settings) -> Iterator[WebhookEndpoint]:
    for endpoint in settings.webhooks.endpoints:
        yield WebhookEndpoint(
            name=endpoint.name,
            types=frozenset(
                kind for kind in EventType if any(fnmatchcase(kind, pattern) for pattern in endpoint.events)
            ),
            url=endpoint.url,
            body=endpoint.body,
            secrets=endpoint.secrets,
            timeout_seconds=endpoint.timeout_seconds,
            concurrency=endpoint.concurrency,
            allow_private=endpoint.allow_private,
            is_ordered=endpoint.ordered,
        )


def _hook_urls(settings: Settings) -> Iterator[WebhookEndpoint]:
    hooks = settings.hooks
    seen: Counter[str] = Counter()
    for url in hooks.http_urls:
        parts = urlsplit(url)
        # Not its position in the list: jobs must keep their endpoint when another URL is added before it.
        name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        seen[name] += 1
        yield WebhookEndpoint(
            name=name if seen[name] == 1 else f"{name} ({seen[name]})",
            types=_enabled_types(settings),
            url=url,
            timeout_seconds=hooks.http_timeout_seconds,
            concurrency=32,
            allow_private=True,  # the operator configured it for hooks, as with tusd
            verifies=not hooks.http_skip_verify,
            forward_headers=hooks.http_forward_headers,
            response_bytes_max=hooks.http_size_limit_bytes,
            is_tusd_hook=True,
            is_ordered=False,
        )


def _executables(settings: Settings) -> Iterator[WebhookEndpoint]:
    if settings.hooks.executables_dir:
        yield WebhookEndpoint(
            name=_EXECUTABLES,
            types=_enabled_types(settings),
            executables_dir=str(Path(settings.hooks.executables_dir).absolute()),
            timeout_seconds=settings.hooks.program_timeout_seconds,
            is_tusd_hook=True,
            is_ordered=False,
        )


def _enabled_types(settings: Settings) -> frozenset[EventType]:
    return frozenset(kind for kind in EventType if kind.value in settings.hooks.enabled_events)
