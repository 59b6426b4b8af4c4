"""Integers that a process shares with the processes that it starts. Needs no directory for temporary files."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import DupFd
from typing import Any, Protocol

_NUMBER = struct.Struct("q")


class Numbers(Protocol):
    """A fixed number of integers."""

    def __setitem__(self, index: int, value: int, /) -> None: ...

    def __iter__(self) -> Iterator[int]: ...


class SharedNumbers:
    """``count`` integers in memory that is shared with started processes, to which this value can be passed."""

    def __init__(self, count: int, descriptor: int) -> None:
        self._count = count
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, count * _NUMBER.size)

    def __setitem__(self, index: int, value: int, /) -> None:
        _NUMBER.pack_into(self._memory, index * _NUMBER.size, value)

    def __iter__(self) -> Iterator[int]:
        return (number for (number,) in _NUMBER.iter_unpack(self._memory[:]))

    def __reduce__(self) -> tuple[Callable[[int, Any], SharedNumbers], tuple[int, object]]:
        return _attach, (self._count, DupFd(self._descriptor))


def shared_numbers(count: int, value: int) -> Numbers:
    """``count`` times ``value``."""
    if not hasattr(os, "memfd_create"):  # only Linux has it
        array: Numbers = SpawnContext().RawArray("q", [value] * count)
        return array
    # multiprocessing's own arrays need /dev/shm or a temporary directory, which a container may not have.
    descriptor = os.memfd_create("tusd-py-numbers")
    os.ftruncate(descriptor, count * _NUMBER.size)
    numbers = SharedNumbers(count, descriptor)
    for index in range(count):
        numbers[index] = value
    return numbers


def _attach(count: int, descriptor: Any) -> SharedNumbers:
    return SharedNumbers(count, descriptor.detach())
