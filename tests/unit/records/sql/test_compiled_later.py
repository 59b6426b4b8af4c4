"""Statements that are compiled at their first use."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from tusd_py.records.sql.compiled_later import compiled_later
from tusd_py.records.sql.quota_statements import QuotaStatements, compile_quota_statements


def test_statements_are_compiled_once_at_their_first_use() -> None:
    """Nothing is compiled before a statement is asked for; then all of them are, and they are the same texts."""
    calls: list[object] = []

    def compile_statements(dialect: SQLiteDialect_pysqlite) -> QuotaStatements:
        calls.append(dialect)
        return compile_quota_statements(dialect)

    dialect = SQLiteDialect_pysqlite(paramstyle="named")
    statements = compiled_later(compile_statements, dialect)  # type: ignore[arg-type]  # it is given this dialect
    assert calls == []
    expected = compile_quota_statements(dialect)
    for name in QuotaStatements.__dataclass_fields__:
        assert getattr(statements, name) == getattr(expected, name)
    assert calls == [dialect]


def test_unknown_statement_is_an_error() -> None:
    """A misspelled name is refused as by the dataclass itself."""
    statements = compiled_later(compile_quota_statements, SQLiteDialect_pysqlite(paramstyle="named"))
    with pytest.raises(AttributeError):
        statements.no_such_statement  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        statements._private  # type: ignore[attr-defined]  # noqa: B018
