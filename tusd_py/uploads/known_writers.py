"""Which principal may write to an upload, for those that this process has seen last."""

from __future__ import annotations

from tusd_py.access.bounded_cache import BoundedCache
from tusd_py.model.principal import Principal

#: How many uploads are remembered.
WRITERS_MAX = 10_000


class KnownWriters:
    """Remembers which principals have created or changed uploads.

    It decides only whether the lock may be requested before the record is read, which decides on the request.
    """

    def __init__(self) -> None:
        self._principals = BoundedCache[str, Principal](WRITERS_MAX)

    def has(self, upload_id: str, principal: Principal) -> bool:
        return self._principals.get(upload_id) == principal

    def add(self, upload_id: str, principal: Principal) -> None:
        self._principals.remember(upload_id, principal)
