"""Blocking hooks and webhooks, as the settings name them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from tusd_py.contracts.hooks import HookFunctions, HookHandler, HookResponse
from tusd_py.contracts.store import Store
from tusd_py.contracts.webhooks import WebhookDeliverer, WebhookEndpoint
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.hooks.blocking.chain import HookChain
from tusd_py.hooks.blocking.from_settings import executable_hooks, http_hooks
from tusd_py.hooks.delivery.deliverer import Deliverer
from tusd_py.hooks.delivery.endpoints import configured_endpoints
from tusd_py.hooks.responses import CountInvocation
from tusd_py.hooks.tusd_json import parse_response
from tusd_py.model.addresses import parse_address
from tusd_py.model.hooks import BLOCKING, Hook
from tusd_py.settings import Settings


def make_hook_handler(
    settings: Settings, functions: HookFunctions, store: Store, count: CountInvocation
) -> HookHandler:
    """All blocking hooks, in order: the URLs of the settings, the programs, then ``functions``.

    ``count`` is called after each invocation. Blocks while TLS certificates are loaded. Raises ``OSError`` if the
    directory of the programs does not exist.
    """
    hooks = settings.hooks
    # Only blocking hooks: workers deliver the events of all others.
    enabled = BLOCKING.intersection(map(Hook, hooks.enabled_events))
    handlers = [*http_hooks(hooks, enabled, store, count), *executable_hooks(hooks, enabled, store, count)]
    callables = CallableHooks(functions, hooks.timeout_seconds, count, store)
    return HookChain([*handlers, callables]) if handlers else callables


def webhook_endpoints(settings: Settings) -> tuple[WebhookEndpoint, ...]:
    """The endpoints that events are delivered to."""
    return configured_endpoints(settings)


def make_deliverer(clock: Callable[[], datetime]) -> WebhookDeliverer:
    """A deliverer for the running event loop."""
    return Deliverer(clock)


def parse_post_response(hook: Hook, response: bytes) -> HookResponse:
    """The response of a tusd hook that a worker called. Raises ``HookFailed``."""
    return parse_response(hook, response)


def is_private_literal(url: str) -> bool:
    """Whether the host of ``url`` is an address, and not a public one: webhooks are not delivered to it unasked."""
    from tusd_py.hooks.delivery.ssrf import is_public  # here, because it loads the HTTP library

    host = urlsplit(url).hostname or ""
    return parse_address(host) is not None and not is_public(host)
