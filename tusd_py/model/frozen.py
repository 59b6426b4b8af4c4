"""The decorator of value classes of which each request creates several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def frozen(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """``dataclass(frozen=True, slots=True)``, but only the type checker refuses an assignment.

    ``frozen`` makes Python call a function for each field of each new object: 4 microseconds for the values of one
    creation.
    """
    return dataclass(slots=True, kw_only=kw_only, unsafe_hash=True)
