"""The names of hooks."""

from __future__ import annotations

from enum import StrEnum


class Hook(StrEnum):
    """tusd's seven hooks, and ``authorize``.

    A request waits for ``authorize`` and the ``pre-`` hooks, which may refuse it; the others are notifications.
    """

    AUTHORIZE = "authorize"
    PRE_CREATE = "pre-create"
    POST_CREATE = "post-create"
    POST_RECEIVE = "post-receive"
    PRE_FINISH = "pre-finish"
    POST_FINISH = "post-finish"
    PRE_TERMINATE = "pre-terminate"
    POST_TERMINATE = "post-terminate"


#: The hooks that a request waits for.
BLOCKING = frozenset({Hook.AUTHORIZE, Hook.PRE_CREATE, Hook.PRE_FINISH, Hook.PRE_TERMINATE})
