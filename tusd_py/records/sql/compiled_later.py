"""Compiles the statements of features that few servers use when the first of them is used.

All of them take 40 ms of each start, and a mebibyte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

from sqlalchemy import Dialect

T = TypeVar("T")


def compiled_later(compile_statements: Callable[[Dialect], T], dialect: Dialect) -> T:
    """Stands for the result of ``compile_statements``, a dataclass of texts, which is called at the first access."""
    return cast("T", _CompiledLater(compile_statements, dialect))


class _CompiledLater:
    def __init__(self, compile_statements: Callable[[Dialect], Any], dialect: Dialect) -> None:
        self._compile_statements = compile_statements
        self._dialect = dialect

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that are not set yet. Two threads at once compile the same texts."""
        if name.startswith("_"):
            raise AttributeError(name)
        statements = self._compile_statements(self._dialect)
        for field in fields(statements):
            setattr(self, field.name, getattr(statements, field.name))
        return getattr(statements, name)
