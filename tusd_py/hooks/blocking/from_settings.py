"""The hook handlers that the settings configure: URLs, and programs in a directory."""

from __future__ import annotations

from pathlib import Path

from tusd_py.contracts.hooks import HookHandler
from tusd_py.contracts.store import Store
from tusd_py.hooks.blocking.executables import ExecutableHooks
from tusd_py.hooks.responses import CountInvocation
from tusd_py.model.hooks import Hook
from tusd_py.settings import HooksSettings


def executable_hooks(
    hooks: HooksSettings, enabled: frozenset[Hook], store: Store, count: CountInvocation
) -> list[HookHandler]:
    """The handler for programs, if a directory is configured. Raises ``OSError`` if it is not a directory."""
    if not hooks.executables_dir:
        return []
    directory = Path(hooks.executables_dir).absolute()
    if not directory.is_dir():
        raise NotADirectoryError(f"hooks.executables_dir {directory} is not a directory; create or change it")
    return [
        ExecutableHooks(directory, enabled, location=store.location, count=count, timeout_seconds=hooks.timeout_seconds)
    ]


def http_hooks(
    hooks: HooksSettings, enabled: frozenset[Hook], store: Store, count: CountInvocation
) -> list[HookHandler]:
    """A handler for each URL, in order. Blocks for about 0.1 s for an https URL, to read certificates."""
    if not hooks.http_urls or not enabled:
        return []
    # Loading the HTTP library takes long, and most servers have no URL.
    from tusd_py.hooks.blocking.http import HttpHooks, RetryPolicy

    retry = RetryPolicy(
        attempts=hooks.http_retry,
        backoff_seconds=hooks.http_backoff_seconds,
        attempt_seconds=hooks.http_timeout_seconds,
        timeout_seconds=hooks.timeout_seconds,
    )
    return [
        HttpHooks(
            url,
            enabled,
            location=store.location,
            count=count,
            retry=retry,
            forward_headers=hooks.http_forward_headers,
            response_bytes_max=hooks.http_size_limit_bytes,
            verifies=not hooks.http_skip_verify,
        )
        for url in hooks.http_urls
    ]
