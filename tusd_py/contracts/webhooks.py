"""The contract of the delivery of events to webhook endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, Protocol

from tusd_py.model.events import Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where events of ``types`` are delivered: to ``url``, or to the programs in ``executables_dir``.

    ``name`` has no secrets and may be shown; jobs refer to the endpoint by it.
    """

    name: str
    types: frozenset[EventType]
    url: str = ""
    executables_dir: str = ""
    body: Literal["envelope", "tusd"] = "tusd"  # our own JSON, or that of tusd's hooks
    secrets: tuple[str, ...] = ()  # keys to sign requests with; without any they are not signed
    timeout_seconds: float = 15.0  # for one attempt
    concurrency: int = 8  # attempts at the same time, in one worker
    allow_private: bool = False  # whether ``url`` may lead to an address that is not public
    verifies: bool = True  # the TLS certificate of ``url``
    forward_headers: tuple[str, ...] = ()  # headers of the caller's request that are sent on
    response_bytes_max: int = 5120  # read of a response
    #: Configured like a hook of tusd: it may answer post-receive, it gets the forwarded credentials, and 410 does not
    #: close it.
    is_tusd_hook: bool = False
    #: Whether an event waits until the events of its upload before it are delivered, however long that takes.
    is_ordered: bool = True


class DeliveryStatus(Enum):
    DELIVERED = auto()
    RETRY = auto()  # the failure may be temporary
    GONE = auto()  # 410: the endpoint wants no more events
    REJECTED = auto()  # the endpoint would refuse the same request again, or it can never be sent


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one attempt.

    ``reason`` says what failed and follows the name of the endpoint in a sentence. ``retry_after_seconds`` is the wait
    that the endpoint requested, if any. ``response`` is what it answered: at most ``response_bytes_max`` of it.
    """

    status: DeliveryStatus
    reason: str = ""
    retry_after_seconds: float | None = None
    response: bytes = b""


class WebhookDeliverer(Protocol):
    """Delivers events to endpoints. Belongs to one event loop."""

    async def deliver(
        self, endpoint: WebhookEndpoint, event: Event, storage: Mapping[str, str] | None
    ) -> DeliveryResult:
        """Make one attempt. Failures of the network and of the endpoint are results and not exceptions.

        ``storage`` says where the bytes of the upload are (``Store.location``).
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
