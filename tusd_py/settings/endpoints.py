"""The settings of webhooks: the endpoints that events are delivered to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tusd_py.model.events import EventType
from tusd_py.settings.values import Bool, Count, Expects, PositiveSeconds, Section, check_one_url, check_secret

_EVENT_TYPES = [event_type.value for event_type in EventType]


def check_pattern(value: str) -> str:
    """An event type, or a pattern that matches at least one."""
    if not any(fnmatchcase(event_type, value) for event_type in _EVENT_TYPES):
        raise ValueError(
            f"a list of event types, or of patterns such as upload.*; the types are {', '.join(_EVENT_TYPES)}"
        )
    return value


def check_name(value: str) -> str:
    """A name that is safe in a log line, a database key and a command line."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", value):
        raise ValueError("a name of lower-case letters, digits, - and _, such as library")
    return value


class EndpointSettings(BaseModel):
    """One URL that events are delivered to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(check_name)]
    url: Annotated[str, AfterValidator(check_one_url)]
    events: tuple[Annotated[str, AfterValidator(check_pattern)], ...] = (
        "post-create",
        "post-finish",
        "post-terminate",
        "upload.*",
    )
    body: Literal["envelope", "tusd"] = "envelope"
    secrets: tuple[Annotated[str, AfterValidator(check_secret)], ...] = Field(default=(), repr=False)
    timeout_seconds: PositiveSeconds = 15
    concurrency: Count = 8
    allow_private: Bool = False
    ordered: Bool = True


class WebhooksSettings(Section):
    """Which endpoints receive events over HTTP."""

    endpoints: Annotated[tuple[EndpointSettings, ...], Expects("a list of tables, each with a name and a url")] = ()

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) < len(names):
            yield "webhooks.endpoints uses a name twice: each endpoint needs a name of its own"
