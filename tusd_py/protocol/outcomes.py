"""The results of successful requests as frozen values. The formatters of tus 1.0 and the draft both read these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tusd_py.model.frozen import frozen
from tusd_py.model.upload import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOverride:
    """The parts of a response that a hook replaces; ``None`` keeps the protocol's own."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None

    def merged_with(self, later: ResponseOverride | None) -> ResponseOverride:
        """Both combined; ``later`` takes precedence."""
        if later is None:
            return self
        return ResponseOverride(
            status=self.status if later.status is None else later.status,
            headers={**self.headers, **later.headers},
            body=self.body if later.body is None else later.body,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """OPTIONS: the formatter knows the capabilities of the server.

    ``trailers`` says whether trailers reach the server on the way that this client uses.
    """

    trailers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected:
    """A download whose bytes browsers get at ``url``, which has another origin."""

    url: str


@frozen(kw_only=True)
class Created:
    """An upload was created; ``took_body`` says whether the request had bytes to store."""

    upload: Upload
    took_body: bool
    override: ResponseOverride | None = None


@frozen(kw_only=True)
class Inspected:
    """The state of an upload. The ``length`` of a final upload is known once all its parts have one."""

    upload: Upload


@frozen(kw_only=True)
class Appended:
    upload: Upload
    override: ResponseOverride | None = None


@frozen(kw_only=True)
class Terminated:
    upload: Upload
    override: ResponseOverride | None = None


class Content(Protocol):
    """The bytes of a download, in pieces, readable once. A caller that stops reading early must call ``aclose``."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    def aclose(self) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """Bytes ``start`` up to, not including, ``stop`` of ``upload``; ``partial`` when they answer a Range header (206).

    ``body`` is None if the client already has the bytes (304).
    """

    upload: Upload
    start: int
    stop: int
    partial: bool
    body: Content | None


Outcome = Discovered | Created | Inspected | Appended | Terminated | Downloaded | Redirected
