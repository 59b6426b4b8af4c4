"""The settings of webhooks: endpoints that are told what has happened."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tusd_py.settings.values import Allowed, Count, Switch, Wait, check_secret, check_url

#: Every type of event that there is.
EVENT_TYPES = (
    "post-create",
    "post-receive",
    "post-finish",
    "post-terminate",
    "upload.assembled",
    "upload.validated",
    "upload.rejected",
    "upload.ready",
    "upload.failed",
    "upload.expired",
)


def check_pattern(value: str) -> str:
    """A type of event, or a pattern that some type has."""
    if not any(fnmatchcase(kind, value) for kind in EVENT_TYPES):
        raise ValueError(
            f"a list of types of events, or of patterns such as upload.*; there are {', '.join(EVENT_TYPES)}"
        )
    return value


def check_name(value: str) -> str:
    """A name that can stand in a log, a key and a command."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", value):
        raise ValueError("a name of small letters, digits, - and _, such as library")
    return value


class Endpoint(BaseModel):
    """One receiver of events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(check_name)]
    url: Annotated[str, AfterValidator(check_url)]
    events: tuple[Annotated[str, AfterValidator(check_pattern)], ...] = (
        "post-create",
        "post-finish",
        "post-terminate",
        "upload.*",
    )
    body: Literal["envelope", "tusd"] = "envelope"
    secrets: tuple[Annotated[str, AfterValidator(check_secret)], ...] = Field(default=(), repr=False)
    timeout_seconds: Wait = 15
    concurrency: Count = 8
    allow_private: Switch = False

    def __str__(self) -> str:
        signed = f", signed with {len(self.secrets)}" if self.secrets else ", not signed"
        return f"{self.name} ({self.url.partition('?')[0]}{signed})"


class Webhooks(BaseModel):
    """Who is told of events over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    endpoints: Annotated[tuple[Endpoint, ...], Allowed("a list of tables, each with a name and a url")] = ()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) < len(names):
            raise ValueError("webhooks.endpoints has a name twice: what waits for one must not go to the other")
        return self
