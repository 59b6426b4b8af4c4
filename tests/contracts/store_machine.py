"""A store compared with a dictionary: any order of appends, cancellations, crashes, concatenations and deletions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.contracts.store import StoreContract, an_upload, cut, read
from tests.support.content import content

T = TypeVar("T")

IDS = st.sampled_from(["a", "b", "c", "d"])
BODIES = st.builds(
    lambda seed, length: bytes(content(seed, length)),
    st.integers(0, 999),
    st.one_of(st.integers(0, 300), st.sampled_from([65_535, 65_536, 262_144, 1_048_577, 2_500_000])),
)


class StoreMachine(RuleBasedStateMachine):
    """``model`` holds what the records would: the bytes of each upload up to its offset."""

    def __init__(self, contract: StoreContract, directory: Path) -> None:
        super().__init__()
        self.contract = contract
        self.directory = directory
        self.runner = asyncio.Runner(loop_factory=contract.loop_factory)
        self.store = self.runner.run(self.opened())
        self.model: dict[str, bytes] = {}

    async def opened(self) -> Any:
        return self.contract.open(self.directory)

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(act)

    def offset(self, name: str) -> int:
        return len(self.model.get(name, b""))

    @rule(name=IDS, body=BODIES, piece_bytes=st.sampled_from([7, 1000, 65_536, 2_000_000]), durable=st.booleans())
    def append(self, name: str, body: bytes, piece_bytes: int, durable: bool) -> None:
        """A request that ends well."""

        async def act() -> None:
            sink = self.store.open(an_upload(name, self.offset(name)))
            await sink.write(cut(body[: 7 * 3000] if piece_bytes == 7 else body, piece_bytes))
            taken = await sink.flush(durable=durable)
            await sink.close()
            stored = self.model.get(name, b"") + body[: taken - self.offset(name)]
            if durable:
                assert self.contract.beneath(self.store, name) == stored
            if stored or durable:
                self.model[name] = stored

        self.run(act())

    @rule(name=IDS, body=BODIES, turns=st.integers(0, 5))
    def append_cancelled(self, name: str, body: bytes, turns: int) -> None:
        """A request that is cancelled at some point: bytes up to ``persisted_offset`` count."""

        async def act() -> None:
            start = self.offset(name)
            sink = self.store.open(an_upload(name, start))

            async def request() -> None:
                for piece in cut(body, 200_000):
                    await sink.write([piece])
                await sink.flush()

            running = asyncio.ensure_future(request())
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await sink.close()
            if sink.persisted_offset > start:
                self.model[name] = self.model.get(name, b"") + body[: sink.persisted_offset - start]

        self.run(act())

    @rule(name=IDS, body=BODIES)
    def crash_leaves_bytes(self, name: str, body: bytes) -> None:
        """Bytes were written that no record counts."""
        self.contract.put_beneath(self.store, name, self.model.setdefault(name, b"") + body)

    @rule(names=st.lists(IDS, max_size=4))
    def concatenate(self, names: list[str]) -> None:
        parts = [an_upload(name, self.offset(name)) for name in names if name in self.model]
        self.run(self.store.concatenate(an_upload("concatenated"), parts))
        self.model["concatenated"] = b"".join(self.model[part.id] for part in parts)

    @rule(name=IDS)
    def delete(self, name: str) -> None:
        self.run(self.store.delete(an_upload(name)))
        self.model.pop(name, None)
        assert self.contract.beneath(self.store, name) is None

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.contract.reopen(self.store, self.directory)

    @rule(data=st.data(), name=IDS)
    def read_range(self, data: st.DataObject, name: str) -> None:
        stop = data.draw(st.integers(0, self.offset(name)))
        start = data.draw(st.integers(0, stop))
        upload = an_upload(name, self.offset(name))
        assert self.run(read(self.store, upload, start, stop)) == self.model.get(name, b"")[start:stop]

    @invariant()
    def agrees(self) -> None:
        """The store has the bytes that records would claim."""
        for name, stored in self.model.items():
            beneath = self.contract.beneath(self.store, name)
            assert beneath is not None
            assert beneath[: len(stored)] == stored
            assert self.run(self.store.size(an_upload(name))) == len(beneath)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()


def check_machine(contract: StoreContract, directory: Path) -> None:
    """Run the machine over stores of this contract, each in a directory of its own."""
    numbers = itertools.count()

    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(contract, directory / str(next(numbers)))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
