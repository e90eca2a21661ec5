"""Tells a text that holds U+FFFD from one that holds half a surrogate pair.

SQL Server's nvarchar is UTF-16 without rules: it can hold a lone surrogate, which UTF-8 and so Postgres
cannot. mssql-python's reader silently puts U+FFFD in its place. So wherever U+FFFD arrives, the value is
read again as bytes, by the row's key, and looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyodbc

from etl_cli.runtime.names import quote_source
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.source.connect import Shard, connect_odbc, session_statement
from etl_cli.runtime.source.errors import translate


class SurrogateCheck:
    """Reads suspicious values again, over a connection of its own that is opened when first needed."""

    def __init__(self, shard: Shard, plan: TablePlan) -> None:
        self._shard = shard
        self._plan = plan
        self._connection: pyodbc.Connection | None = None
        self._known: dict[str, bool] = {}

    def first_bad(self, batch: pa.RecordBatch, column: ColumnPlan, rows: Sequence[int]) -> int | None:
        """Which of the batch's `rows` holds a lone surrogate in the column; None where none does.

        Without a key a row cannot be found again: then the whole column is looked at, once, and the
        first of `rows` stands for all. Raises SourceError.
        """
        key = list(self._plan.order)
        try:
            if not key:
                return rows[0] if self._anywhere(column) else None
            return self._by_key(batch, column, rows, key)
        except pyodbc.Error as error:
            raise translate(error, self._shard.name, f"reading {self._plan.source} again") from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _by_key(self, batch: pa.RecordBatch, column: ColumnPlan, rows: Sequence[int], key: Sequence[str]) -> int | None:
        """A row that is not found again - a key of seven digits was cut to six, or the row was changed - proves
        nothing: then the whole column is looked at.
        """
        statement = self._select(column) + " AND " + " AND ".join(f"{quote_source(name)} = ?" for name in key)
        cursor = self._cursor()
        for row in rows:
            values = [batch.column(name)[row].as_py() for name in key]
            found = cursor.execute(statement, values).fetchall()
            if not all(is_sound(raw) for (raw,) in found) or (not found and self._anywhere(column)):
                return row
        return None

    def _anywhere(self, column: ColumnPlan) -> bool:
        if column.source not in self._known:
            cursor = self._cursor().execute(self._select(column))
            self._known[column.source] = not all(is_sound(raw) for (raw,) in cursor)
        return self._known[column.source]

    def _select(self, column: ColumnPlan) -> str:
        value = quote_source(column.source)
        table = quote_source(self._plan.source_schema, self._plan.source_name)
        table += f" WHERE ({self._plan.where})" if self._plan.where else " WHERE 1 = 1"
        return f"SELECT CAST(CAST({value} AS nvarchar(max)) AS varbinary(max)) FROM {table}"

    def _cursor(self) -> Any:
        if self._connection is None:
            self._connection = connect_odbc(self._shard)
            self._connection.execute(session_statement(self._shard))
        return self._connection.cursor()


def is_sound(raw: bytes | None) -> bool:
    """Whether UTF-16 bytes are text, every surrogate with its other half."""
    try:
        (raw or b"").decode("utf-16-le")
    except UnicodeDecodeError:
        return False
    return True
