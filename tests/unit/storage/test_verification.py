"""``StoreVerification``: a store is used only after it has been verified, and verified again when its mark changes."""

from __future__ import annotations

import asyncio

import pytest

from tusd_py.contracts.records import RecordsUnavailable
from tusd_py.contracts.store import StoreUnavailable
from tusd_py.contracts.store_marks import ForeignStore
from tusd_py.storage.verification import StoreVerification

pytestmark = pytest.mark.anyio


class ChangingStore:
    """What ``verify`` and ``read_mark`` find."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.mark = "m"
        self.verified = 0

    async def verify(self) -> str:
        self.verified += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.mark

    async def read_mark(self) -> str:
        return self.mark

    def verification(self) -> StoreVerification:
        return StoreVerification(self.verify, self.read_mark)


async def test_callers_share_one_run_and_its_failure() -> None:
    """Requests that wait for a store that does not answer wait together, and the next ones try again."""
    store = ChangingStore()
    store.failure = StoreUnavailable("away")
    verification = store.verification()
    failures = await asyncio.gather(*(verification.run() for _ in range(5)), return_exceptions=True)
    assert 5 == len([each for each in failures if isinstance(each, StoreUnavailable)])
    assert (1, False) == (store.verified, verification.is_passed)
    store.failure = None
    await verification.run()
    assert (2, True) == (store.verified, verification.is_passed)


async def test_unknown_while_the_database_is_away() -> None:
    """Without the database the right mark is unknown: the store is not used."""
    store = ChangingStore()
    store.failure = RecordsUnavailable("PostgreSQL cannot be reached")
    with pytest.raises(StoreUnavailable, match="PostgreSQL cannot be reached"):
        await store.verification().run()


async def test_renewed_only_if_the_mark_has_changed() -> None:
    """A volume that was unmounted is refused at the next probe, and accepted again when it is back."""
    store = ChangingStore()
    verification = store.verification()
    await verification.renew()
    await verification.renew()
    assert 1 == store.verified
    store.mark, store.failure = "", ForeignStore("not where the uploads are")
    with pytest.raises(ForeignStore):
        await verification.renew()
    assert not verification.is_passed
    store.mark, store.failure = "m", None
    await verification.renew()
    assert verification.is_passed
