"""Fetches the key set of an identity provider (JWKS) over HTTP."""

from __future__ import annotations

from tusd_py.contracts.key_set import FetchFailed
from tusd_py.hooks.http_client import HttpClient, RequestFailed, RequestHeaders, tls_context
from tusd_py.threads import cpu_threads, in_executor

# How long a request waits for the keys of tokens, and how large the document may be.
_SECONDS = 5.0
_BYTES_MAX = 512 * 1024


async def fetch_keys(url: str) -> bytes:
    """The document at ``url``. Raises ``FetchFailed``."""
    # A client for each fetch: there is one in ten minutes.
    client = HttpClient(await in_executor(cpu_threads, tls_context, url, verifies=True))
    try:
        response = await client.get(
            url, RequestHeaders(url).for_caller(None), timeout_seconds=_SECONDS, response_bytes_max=_BYTES_MAX
        )
    except RequestFailed as failure:
        raise FetchFailed(f"the URL {failure}") from failure
    finally:
        await client.close()
    if response.status != 200:
        raise FetchFailed(f"the URL answered {response.status}")
    return response.body
