"""How often clients may create uploads and fail to log in. The counts are kept behind ``RateCounter``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from tusd_py.access.bandwidth import Bandwidth
from tusd_py.access.body_slots import BodySlots
from tusd_py.access.quota import subject_of
from tusd_py.contracts.rate_counter import MemoryCounts, RateCounter
from tusd_py.model.rates import Rate
from tusd_py.protocol.access_errors import TooManyCreations, TooManyLogins


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationRate:
    """Limits creations: of each owner or anonymous address, and of each address with all its owners; 0 is no limit."""

    counter: RateCounter
    per_minute: int = 0
    per_address: int = 0

    async def ensure_allowed(self, owner: str, address: str) -> None:
        """Count a creation. Raises ``TooManyCreations``, which says when the next one is allowed.

        A creation that is refused counts for neither limit, however often the client repeats it. Only where several
        processes count the last one of an address at the same moment, those that are refused count for their owners.
        """
        limits = self._limits(owner, address)
        for rate, key in limits[:-1]:
            _refuse_creation(rate, await self.counter.wait_seconds(rate, key))
        for rate, key in reversed(limits):
            _refuse_creation(rate, await self.counter.hit(rate, key))

    def count_now(self, owner: str, address: str) -> bool:
        """Count a creation as ``ensure_allowed`` does, without waiting.

        False: nothing was counted, because a limit is reached or the counts are elsewhere. ``ensure_allowed`` decides.
        """
        counts = self.counter.in_memory
        limits = self._limits(owner, address)
        if counts is None or any(counts.wait_seconds_now(rate, key) for rate, key in limits):
            return False
        for rate, key in limits:
            counts.hit_now(rate, key)
        return True

    def take_back(self, owner: str, address: str) -> None:
        """Forget a creation that ``count_now`` has counted: ``ensure_allowed`` counts it again."""
        counts = self.counter.in_memory
        assert counts is not None, "count_now has counted"
        for rate, key in self._limits(owner, address):
            counts.take_back(rate, key)

    def _limits(self, owner: str, address: str) -> list[tuple[Rate, str]]:
        return [
            (Rate(amount), f"create {name}")
            for amount, name in (
                (self.per_address, f"from {address}" if address else ""),
                (self.per_minute, subject_of(owner, address) if owner or address else ""),
            )
            # Clients without an address cannot be told apart: a limit for each of them does not apply.
            if amount and name
        ]


def _refuse_creation(rate: Rate, seconds: float) -> None:
    if seconds:
        raise TooManyCreations(rate.amount, math.ceil(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRate:
    """Limits failed logins of an account from one address, and of one address to all accounts; 0 is no limit.

    An account is not limited as such: others could lock its owner out. ``address`` is the key of a client
    (``ClientAddresses``); where it is empty, only the account counts.
    """

    counter: RateCounter
    per_minute: int = 0
    per_address: int = 0

    async def ensure_allowed(self, account: str, address: str) -> None:
        """Count an attempt before its password is checked. Raises ``TooManyLogins``.

        Counted before, attempts at the same time cannot all pass. Call ``succeeded`` or ``failed`` afterwards.
        """
        if self.per_address and address:
            rate = Rate(self.per_address)
            _refuse_login(await self.counter.wait_seconds(rate, _address_key(address)))
        if self.per_minute:
            _refuse_login(await self.counter.hit(Rate(self.per_minute), _account_key(account, address)))

    async def succeeded(self, account: str, address: str) -> None:
        """Forget the attempts of this account from this address."""
        if self.per_minute:
            await self.counter.forget(Rate(self.per_minute), _account_key(account, address))

    async def failed(self, address: str) -> None:
        """Count a failure of this address."""
        if self.per_address and address:
            await self.counter.hit(Rate(self.per_address), _address_key(address))


def _refuse_login(seconds: float) -> None:
    if seconds:
        raise TooManyLogins(math.ceil(seconds))


def _account_key(account: str, address: str) -> str:
    # Clients choose the name, which may be long and have any characters.
    return f"login {hashlib.sha256(account.encode('utf-8', 'surrogatepass')).hexdigest()[:32]} from {address}"


def _address_key(address: str) -> str:
    return f"logins from {address}"


class LazyCounter:
    """A ``RateCounter`` that is made at its first use: most servers count nothing and need no library for it."""

    def __init__(self, make: Callable[[], RateCounter]) -> None:
        self._make = make
        self._made: RateCounter | None = None

    @property
    def in_memory(self) -> MemoryCounts | None:
        return self._counter.in_memory

    async def hit(self, rate: Rate, key: str) -> float:
        return await self._counter.hit(rate, key)

    async def wait_seconds(self, rate: Rate, key: str) -> float:
        return await self._counter.wait_seconds(rate, key)

    async def forget(self, rate: Rate, key: str) -> None:
        await self._counter.forget(rate, key)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    @property
    def _counter(self) -> RateCounter:
        if self._made is None:
            self._made = self._make()
        return self._made


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What limits how often clients do something. ``counter`` serves other limits as well."""

    counter: RateCounter
    logins: LoginRate
    creations: CreationRate | None = None  # None without a limit, as the next ones
    bodies: BodySlots | None = None
    bandwidth: Bandwidth | None = None
