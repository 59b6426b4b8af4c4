"""The request body of a delivery: the event in our envelope, or in the JSON of tusd's hooks."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tusd_py.contracts.webhooks import WebhookEndpoint
from tusd_py.hooks.tusd_json import format_event
from tusd_py.model.events import Event
from tusd_py.model.text import valid_unicode
from tusd_py.views import event_view


def request_body(endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None) -> bytes:
    """The body for ``event``: the same bytes for every attempt.

    ``storage`` says where the bytes of the upload are; only tusd's JSON includes it.
    """
    if endpoint.body == "tusd":
        caller = event.caller
        if caller is not None and not endpoint.is_tusd_hook:
            # The headers that http_forward_headers names are stored for tusd's hooks, and only those may get them.
            caller = caller.recorded()
        return format_event(event.type, event.upload, caller, storage)
    return valid_unicode(json.dumps(event_view(event), ensure_ascii=False, separators=(",", ":"))).encode()
