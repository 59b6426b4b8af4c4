"""Python callables as hooks: every kind of callable, in bounded time; their mistakes are failed hooks."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from contextvars import ContextVar
from typing import Any

import pytest

from tests.support.harness import EPOCH
from tests.support.waiting import eventually
from tusd_py.contracts.hooks import HookEvent, HookFailed, HookFunction, HookResponse
from tusd_py.hooks.blocking.callables import CallableHooks
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import ResponseOverride
from tusd_py.threads import ThreadPool

pytestmark = pytest.mark.anyio

EVENT = HookEvent(Hook.PRE_CREATE, Upload(id="u1", length=1, created_at=EPOCH, updated_at=EPOCH), None)
ANSWER = HookResponse(upload_id="mine")


def hooks_with(function: HookFunction, seconds: float = 5) -> tuple[CallableHooks, list[tuple[Hook, bool]]]:
    counted: list[tuple[Hook, bool]] = []
    return CallableHooks({Hook.PRE_CREATE: function}, seconds, lambda *count: counted.append(count)), counted


async def invoke(function: Any, seconds: float = 5) -> HookResponse:
    handler, counted = hooks_with(function, seconds)
    answer = await handler.invoke(EVENT)
    assert counted == [(Hook.PRE_CREATE, False)]
    return answer


async def failure_of(function: Any, seconds: float = 5) -> str:
    handler, counted = hooks_with(function, seconds)
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
async def test_every_kind_of_callable(function: HookFunction) -> None:
    """Functions, objects, partials and lambdas, sync and async, work alike."""
    assert await invoke(function) is ANSWER


async def test_a_hook_without_a_function_changes_nothing() -> None:
    """``handles`` reports it, and invoking it all the same is allowed."""
    handler, counted = hooks_with(plain)
    assert handler.handles(Hook.PRE_CREATE)
    assert not handler.handles(Hook.POST_CREATE)
    response = await handler.invoke(HookEvent(Hook.POST_CREATE, EVENT.upload, None))
    assert (response, counted) == (HookResponse(), [])


async def test_none_is_an_empty_response() -> None:
    """A function need not return anything."""
    assert await invoke(lambda _: None) == HookResponse()


_request: ContextVar[str] = ContextVar("_request", default="")


async def test_a_plain_function_runs_in_a_thread() -> None:
    """It may block; the thread sees the context variables of the request."""
    _request.set("r1")
    seen: list[tuple[bool, str]] = []

    def block(_: HookEvent) -> None:
        seen.append((threading.current_thread() is threading.main_thread(), _request.get()))

    await invoke(block)
    assert seen == [(False, "r1")]


async def test_timeout_is_a_failed_hook() -> None:
    """For plain and for async functions."""
    end = threading.Event()
    assert await failure_of(lambda _: end.wait(10), 0.02) == "pre-create took more than 0.02 seconds"

    async def hang(_: HookEvent) -> None:
        await asyncio.Event().wait()

    assert await failure_of(hang, 0.02) == "pre-create took more than 0.02 seconds"
    end.set()


async def test_an_exception_is_a_failed_hook() -> None:
    """Also a TimeoutError of the function itself, which is not our timeout, and StopIteration."""

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
        ("yes", "returned str; return a HookResponse or None"),
        (HookResponse(upload_id="../evil"), "chose the id '../evil'"),
        (HookResponse(upload_id=""), "chose the id ''"),
        (HookResponse(metadata={"a b": "x"}), "changed the metadata: Upload-Metadata"),
        (HookResponse(metadata={"a": 1}), "changed the metadata: values are text or bytes"),  # type: ignore[dict-item]
        (HookResponse(override=ResponseOverride(status=99)), "answered with the status 99"),
        (HookResponse(override=ResponseOverride(status=600)), "answered with the status 600"),
    ],
)
async def test_invalid_responses_are_refused(answer: object, problem: str) -> None:
    """Before they reach a file name, a header or a status line."""
    assert problem in await failure_of(lambda _: answer)


async def test_valid_responses_are_returned() -> None:
    """Ids, metadata of text and bytes, overrides with and without a status."""
    for answer in (
        HookResponse(upload_id="a-B_9", metadata={"name": "é", "raw": b"\xff"}),
        HookResponse(metadata={}, override=ResponseOverride(status=402, body="pay")),
        HookResponse(override=ResponseOverride(headers={"X-A": "b"})),
    ):
        assert await invoke(lambda _, answer=answer: answer) is answer


async def test_threads_are_limited() -> None:
    """While functions that hang occupy all threads, further hooks wait; other threads of the process are unaffected."""
    end, running = threading.Event(), list[int]()
    threads = ThreadPool(2, "hook")

    def hang() -> None:
        running.append(1)
        end.wait(10)

    hanging = [asyncio.ensure_future(threads.submit(hang)) for _ in range(3)]
    await eventually(lambda: len(running) == 2)
    # Cancelled calls occupy their threads until they end.
    for task in hanging[:2]:
        task.cancel()
    await asyncio.wait(hanging[:2])
    await asyncio.sleep(0.01)
    assert len(running) == 2
    assert await asyncio.to_thread(lambda: 7) == 7
    end.set()
    await hanging[2]
    assert len(running) == 3


def test_a_hanging_function_does_not_prevent_exit() -> None:
    """The event loop ends while the thread still runs; the result of the thread is dropped."""
    end = threading.Event()
    started = time.monotonic()

    def hang(_: HookEvent) -> None:
        end.wait(10)

    async def serve() -> None:
        handler, _ = hooks_with(hang, 0.01)
        with pytest.raises(HookFailed):
            await handler.invoke(EVENT)

    asyncio.run(serve())
    assert time.monotonic() - started < 5
    end.set()
    for thread in threading.enumerate():
        if thread.name == "hook":
            assert thread.daemon
            thread.join(5)
