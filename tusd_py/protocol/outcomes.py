"""What came of a request that was granted, as frozen values. Every dialect's formatter reads these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tusd_py.model.upload import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOverride:
    """What a hook wants changed in the answer: laid over whatever the protocol would say."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None

    def merged_with(self, later: ResponseOverride | None) -> ResponseOverride:
        """Both as one: where they say the same thing, ``later`` counts."""
        if later is None:
            return self
        return ResponseOverride(
            status=self.status if later.status is None else later.status,
            headers={**self.headers, **later.headers},
            body=self.body if later.body is None else later.body,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What the server can do is in the formatter's own settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """An upload was made; ``took_body`` tells whether the request's bytes were meant to be stored."""

    upload: Upload
    took_body: bool
    override: ResponseOverride | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """How an upload stands; its ``length`` is also that of a final upload whose parts all have one by now."""

    upload: Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    upload: Upload
    override: ResponseOverride | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    upload: Upload
    override: ResponseOverride | None = None


class Content(Protocol):
    """The bytes of a download, given out once, piece by piece. Who does not read it to its end closes it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    def aclose(self) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """Bytes ``start`` to ``stop`` (excluded) of ``upload``; ``partial`` when a range was asked for and granted.

    ``body`` is None when the client has it already (304).
    """

    upload: Upload
    start: int
    stop: int
    partial: bool
    body: Content | None


Outcome = Discovered | Created | Inspected | Appended | Terminated | Downloaded
