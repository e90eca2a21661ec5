"""Evaluates the scan's SQL over whole numbers in SQLite: an independent judge of conditions that were spelled out."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from etl_cli.runtime.plan import TablePlan

_REPLACED = [
    (re.compile(r"CONVERT\(int, N'(-?\d+)'\)"), r"\1"),
    (re.compile(r"CONVERT\(nvarchar\(4000\), (.+?\]\)?)\)"), r"CAST(\1 AS TEXT)"),
    (re.compile(r"OFFSET (\d+) ROWS FETCH NEXT 1 ROWS ONLY"), r"LIMIT 1 OFFSET \1"),
    (re.compile(r"COUNT_BIG"), "COUNT"),
]


class Evaluator:
    """A table of whole numbers under the plan's source name; also a control connection for `Bounds`."""

    def __init__(self, plan: TablePlan, rows: Iterable[Sequence[int | None]]) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute(f"ATTACH ':memory:' AS {plan.source_schema}")
        names = ", ".join(f"[{column.source}]" for column in plan.columns)
        self._connection.execute(f"CREATE TABLE {plan.source} ({names})")
        marks = ", ".join("?" * len(plan.columns))
        self._connection.executemany(f"INSERT INTO {plan.source} VALUES ({marks})", rows)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a T-SQL statement gives; SQLite refuses what is not replaced."""
        for pattern, replacement in _REPLACED:
            statement = pattern.sub(replacement, statement)
        return self._connection.execute(statement).fetchall()

    def cursor(self) -> _Cursor:
        """As pyodbc's connection."""
        return _Cursor(self)


class _Cursor:
    """As pyodbc's cursor."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str) -> _Cursor:
        """Run it."""
        self._rows = self._evaluator.rows(statement)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row."""
        return self._rows[0] if self._rows else None
