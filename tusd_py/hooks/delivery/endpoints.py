"""Who is told of events, as the settings name them: webhook endpoints, and tusd's URLs and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tusd_py.model.events import EventType
from tusd_py.settings import Settings

_PROGRAMS = "hooks.executables_dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Somebody who is told, at ``url`` or by the programs in ``directory``. ``name`` is safe to show."""

    name: str
    types: frozenset[EventType]
    url: str = ""
    executables_dir: Path | None = None
    body: Literal["envelope", "tusd"] = "tusd"
    secrets: tuple[str, ...] = ()
    timeout_seconds: float = 15.0
    concurrency: int = 8
    allow_private: bool = False
    verifies: bool = True
    forward_headers: tuple[str, ...] = ()
    response_bytes_max: int = 5120
    #: Named as tusd does: what it answers to post-receive counts, and it is sent what is forwarded of credentials.
    is_tusd_hook: bool = False


def configured_endpoints(settings: Settings) -> tuple[WebhookEndpoint, ...]:
    """Everybody who is told of something, by names that stay the same while the settings do."""
    told = (*_endpoints(settings), *_urls(settings), *_programs(settings))
    return tuple(receiver for receiver in told if receiver.types)


def _endpoints(settings: Settings) -> Iterator[WebhookEndpoint]:
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
        )


def _urls(settings: Settings) -> Iterator[WebhookEndpoint]:
    hooks = settings.hooks
    seen: Counter[str] = Counter()
    for url in hooks.http_urls:
        parts = urlsplit(url)
        # Not its place in the list: who waits for an event must stay the same when another is put before him.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        seen[shown] += 1
        yield WebhookEndpoint(
            name=shown if seen[shown] == 1 else f"{shown} ({seen[shown]})",
            types=_told(settings),
            url=url,
            timeout_seconds=hooks.http_timeout_seconds,
            concurrency=32,
            allow_private=True,  # the operator's own, as with tusd
            verifies=not hooks.http_skip_verify,
            forward_headers=hooks.http_forward_headers,
            response_bytes_max=hooks.http_size_limit_bytes,
            is_tusd_hook=True,
        )


def _programs(settings: Settings) -> Iterator[WebhookEndpoint]:
    if settings.hooks.executables_dir:
        yield WebhookEndpoint(
            name=_PROGRAMS,
            types=_told(settings),
            executables_dir=Path(settings.hooks.executables_dir).absolute(),
            timeout_seconds=settings.hooks.timeout_seconds,
            is_tusd_hook=True,
        )


def _told(settings: Settings) -> frozenset[EventType]:
    return frozenset(kind for kind in EventType if kind.value in settings.hooks.enabled_events)
