"""How often something may happen: a value."""

from __future__ import annotations

from tusd_py.model.frozen import frozen


@frozen()
class Rate:
    """At most ``amount`` times within any ``seconds``, at once or spread over them."""

    amount: int
    seconds: int = 60
