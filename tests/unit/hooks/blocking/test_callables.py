"""Python callables as hooks: of every shape, in bounded time, and their mistakes are theirs."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextvars import ContextVar
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.loops import eventually, on_loop
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookFunction, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.threads import ThreadPool

EVENT = HookEvent(Hook.PRE_CREATE, Upload(id="u1", length=1, created_at=EPOCH, updated_at=EPOCH), None)
ANSWER = HookResponse(upload_id="mine")


def gate_of(function: HookFunction, seconds: float = 5) -> tuple[CallableHooks, list[tuple[Hook, bool]]]:
    counted: list[tuple[Hook, bool]] = []
    return CallableHooks({Hook.PRE_CREATE: function}, seconds, lambda *count: counted.append(count)), counted


async def ask(function: Any, seconds: float = 5) -> HookResponse:
    handler, counted = gate_of(function, seconds)
    answer = await handler.invoke(EVENT)
    assert counted == [(Hook.PRE_CREATE, False)]
    return answer


async def failure_of(function: Any, seconds: float = 5) -> str:
    handler, counted = gate_of(function, seconds)
    with pytest.raises(HookFailed) as failed:
        await handler.invoke(EVENT)
    assert counted == [(Hook.PRE_CREATE, True)]
    return str(failed.value)


def plain(_: HookEvent) -> HookResponse:
    return ANSWER


async def coroutine(_: HookEvent) -> HookResponse:
    return ANSWER


class Callable:
    def __call__(self, _: HookEvent) -> HookResponse:
        return ANSWER


class AsyncCallable:
    async def __call__(self, _: HookEvent) -> HookResponse:
        return ANSWER


@pytest.mark.parametrize(
    "function",
    [
        plain,
        coroutine,
        Callable(),
        AsyncCallable(),
        lambda event: coroutine(event),
        functools.partial(plain),
        functools.partial(coroutine),
    ],
)
@on_loop
async def test_every_shape_of_callable(function: HookFunction) -> None:
    """Functions, objects, partials and lambdas, sync and async, answer alike."""
    assert await ask(function) is ANSWER


@on_loop
async def test_nobody_to_ask_costs_nothing() -> None:
    """Unwanted hooks are known beforehand, and asking one is no mistake."""
    handler, counted = gate_of(plain)
    assert handler.handles(Hook.PRE_CREATE)
    assert not handler.handles(Hook.POST_CREATE)
    told = await handler.invoke(HookEvent(Hook.POST_CREATE, EVENT.upload, None))
    assert (told, counted) == (HookResponse(), [])


@on_loop
async def test_returning_nothing_lets_things_go_on() -> None:
    """``None`` is an empty answer."""
    assert await ask(lambda _: None) == HookResponse()


_request: ContextVar[str] = ContextVar("_request", default="")


@on_loop
async def test_a_blocking_function_runs_beside_the_loop() -> None:
    """It may block: it has a thread, which sees the context of the request."""
    _request.set("r1")
    seen: list[tuple[bool, str]] = []

    def block(_: HookEvent) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), _request.get()))

    await ask(block)
    assert seen == [(False, "r1")]


@on_loop
async def test_time_is_bounded() -> None:
    """Sync or async, a hook that takes too long has failed."""
    end = threading.Event()
    assert await failure_of(lambda _: end.wait(10), 0.02) == "pre-create took more than 0.02 seconds"

    async def hang(_: HookEvent) -> None:
        await asyncio.Event().wait()

    assert await failure_of(hang, 0.02) == "pre-create took more than 0.02 seconds"
    end.set()


@on_loop
async def test_what_it_raises_is_told_to_the_log() -> None:
    """A timeout of the hook's own is no timeout of ours, and even StopIteration arrives."""

    def raising(failure: BaseException) -> HookFunction:
        def function(_: HookEvent) -> None:
            raise failure

        return function

    assert await failure_of(raising(TimeoutError("the database"))) == "pre-create raised TimeoutError: the database"
    assert await failure_of(raising(KeyError("x"))) == "pre-create raised KeyError: 'x'"
    assert "StopIteration" in await failure_of(raising(StopIteration()))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("yes", "returned str; return a HookAnswer or None"),
        (HookResponse(upload_id="../evil"), "chose the id '../evil'"),
        (HookResponse(upload_id=""), "chose the id ''"),
        (HookResponse(metadata={"a b": "x"}), "changed the metadata: Upload-Metadata"),
        (HookResponse(metadata={"a": 1}), "changed the metadata: values are text or bytes"),  # type: ignore[dict-item]
        (HookResponse(override=ResponseOverride(status=99)), "answered with the status 99"),
        (HookResponse(override=ResponseOverride(status=600)), "answered with the status 600"),
    ],
)
@on_loop
async def test_answers_that_cannot_be_are_refused(answer: object, problem: str) -> None:
    """Before they reach a file name, a header or a status line."""
    assert problem in await failure_of(lambda _: answer)


@on_loop
async def test_answers_that_can_be() -> None:
    """Ids, metadata of text and bytes, overlays with and without a status."""
    for answer in (
        HookResponse(upload_id="a-B_9", metadata={"name": "é", "raw": b"\xff"}),
        HookResponse(metadata={}, override=ResponseOverride(status=402, body="pay")),
        HookResponse(override=ResponseOverride(headers={"X-A": "b"})),
    ):
        assert await ask(lambda _, answer=answer: answer) is answer


@on_loop
async def test_threads_are_bounded_and_hold_up_nobody_else() -> None:
    """With every place taken by a hook that hangs, others wait, while the rest of the program has threads as ever."""
    end, running = threading.Event(), list[int]()
    threads = ThreadPool(2, "hook")

    def hang() -> None:
        running.append(1)
        end.wait(10)

    hanging = [asyncio.ensure_future(threads.submit(hang)) for _ in range(3)]
    await eventually(lambda: len(running) == 2)
    # Cancelled, they keep their places until they truly end.
    for task in hanging[:2]:
        task.cancel()
    await asyncio.wait(hanging[:2])
    await asyncio.sleep(0.01)
    assert len(running) == 2
    assert await asyncio.to_thread(lambda: 7) == 7
    end.set()
    await hanging[2]
    assert len(running) == 3


def test_a_hanging_hook_does_not_keep_the_program() -> None:
    """The event loop ends though the thread still runs, and the thread finds nobody there."""
    end = threading.Event()
    started = time.monotonic()

    def hang(_: HookEvent) -> None:
        end.wait(10)

    async def serve() -> None:
        handler, _ = gate_of(hang, 0.01)
        with pytest.raises(HookFailed):
            await handler.invoke(EVENT)

    asyncio.run(serve())
    assert time.monotonic() - started < 5
    end.set()
    for thread in threading.enumerate():
        if thread.name == "hook":
            assert thread.daemon
            thread.join(5)
