"""The contract of a notifier: short messages between the processes of one host. Messages may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Notifier(Protocol):
    """Sends messages to other notifiers of the same group and receives theirs on the event loop it was opened in.

    Nothing here waits or raises: a message is lost if its receiver has ended or is too busy. A sender that relies on an
    answer sends again.
    """

    @property
    def name(self) -> str:
        """The address that others send to."""
        ...

    def is_address(self, name: str) -> bool:
        """Whether ``name``, which came in a message, has the form of an address."""
        ...

    def send(self, name: str, message: bytes) -> None:
        """Send ``message`` to the notifier with this address."""
        ...

    def broadcast(self, message: bytes) -> None:
        """Send ``message`` to every other notifier of the group."""
        ...

    def close(self) -> None:
        """Receive no more messages, and remove the address."""
        ...

    def abandon(self) -> None:
        """Close the descriptors and keep the address: for a forked child, whose parent still uses the notifier."""
        ...


#: Opens a notifier that calls the function with each message that it receives.
OpenNotifier = Callable[[Callable[[bytes], None]], Notifier]
