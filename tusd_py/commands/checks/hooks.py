"""Checks of hooks, and of the worker and what it delivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tusd_py.commands.checks.result import Check, warning
from tusd_py.commands.hook_programs import program_problems
from tusd_py.settings import Settings
from tusd_py.wiring.hooks import is_private_literal
from tusd_py.wiring.jobs import has_backups, needs_worker, subscriptions


def check_hooks(settings: Settings) -> Iterator[Check]:
    """Whether the programs of hooks can be run, and hooks are invoked at all."""
    hooks = settings.hooks
    if hooks.executables_dir:
        exists = Path(hooks.executables_dir).is_dir()
        state = "exists" if exists else "does not exist: create it, or change hooks.executables_dir"
        yield Check(exists, f"the hooks directory {hooks.executables_dir} {state}")
    yield from map(warning, program_problems(settings))
    if not hooks.enabled_events and (hooks.executables_dir or hooks.http_urls):
        yield warning("hooks.enabled_events is empty: no hook is invoked")
    if hooks.http_skip_verify:
        yield warning("hooks.http_skip_verify is true: hooks are not protected against an attacker on the network")


def check_worker(settings: Settings) -> Iterator[Check]:
    """What the worker does, and whether webhooks are signed and can be delivered."""
    if not needs_worker(settings):
        off = "webhooks, post- hooks, validation, publishing, quotas and the schedule of backups"
        yield Check(True, f"no worker is needed: {off} are off")
        return
    tasks = ", ".join([*settings.steps, *_deliveries(settings), *_backups(settings)])
    if settings.worker.mode == "embedded":
        yield Check(True, f"the server will start a worker for {tasks}")
    else:
        yield Check(True, f'worker.mode is "separate": run tusd-py worker beside the server, for {tasks}')
    endpoints = settings.webhooks.endpoints
    if endpoints:
        unsigned = sum(not endpoint.secrets for endpoint in endpoints)
        sentence = f"webhook endpoints: {len(endpoints)}, of which {unsigned or 'none'} without a secret"
        yield warning(sentence) if unsigned else Check(True, sentence)
    for endpoint in endpoints:
        if not endpoint.allow_private and is_private_literal(endpoint.url):
            host = urlsplit(endpoint.url).hostname
            yield warning(
                f"webhook {endpoint.name} is never delivered: {host} is not a public address; set allow_private = true "
                "for it if that is intended"
            )


def _deliveries(settings: Settings) -> Iterator[str]:
    webhooks = {endpoint.name for endpoint in settings.webhooks.endpoints}
    for subscription in subscriptions(settings):
        if subscription.actor:
            name = subscription.name
            yield f"webhook {name}" if name in webhooks else f"the post- hooks of {name}"


def _backups(settings: Settings) -> Iterator[str]:
    if has_backups(settings):
        yield "the schedule of backups"
