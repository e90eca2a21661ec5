"""Places in the order of a scan: the key of a row as the server's own texts, and as conditions. Pure.

A position holds one text for each column of the order, or for the first of them. The server compares it,
never this program: uniqueidentifier sorts by its last bytes first, and text by its collation (trap 5).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from etl_cli.runtime.names import quote_source
from etl_cli.runtime.plan import ColumnPlan, TablePlan

Position = tuple[str, ...]
"""Texts of the first columns of an order; () is the place before the first row."""

_TIMES = ("date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset")
_BINARY = ("binary", "varbinary", "timestamp", "rowversion")
_CHARACTERS = ("char", "varchar", "nchar", "nvarchar", "sysname")
_ROWVERSION = ("timestamp", "rowversion")
_LONGEST_TIME = 34


def columns_of(plan: TablePlan) -> list[ColumnPlan]:
    """The columns of the plan's order."""
    by_name = {column.source: column for column in plan.columns}
    return [by_name[name] for name in plan.order]


def text_of(column: ColumnPlan) -> str:
    """The T-SQL expression that gives a column's value as text, without loss."""
    return text_of_expression(quote_source(column.source), column)


def text_of_expression(expression: str, column: ColumnPlan) -> str:
    """The same for an expression of the column's type, such as its MAX."""
    kind = _base(column)
    if kind in _TIMES:
        return f"CONVERT(varchar({_LONGEST_TIME}), {expression}, 121)"
    if kind in _BINARY:
        return f"CONVERT(varchar(8000), {expression}, 1)"
    if kind in ("float", "real"):
        return f"CONVERT(varchar(40), {expression}, 3)"
    if kind in ("money", "smallmoney"):
        return f"CONVERT(varchar(40), {expression}, 2)"  # without a style two of its four digits are lost
    return f"CONVERT(nvarchar(4000), {expression})"


def value_of(column: ColumnPlan, text: str) -> str:
    """The T-SQL expression that gives the value back, in the column's own type and collation."""
    quoted = "N'" + text.replace("'", "''") + "'"
    kind = _base(column)
    if kind in _TIMES:
        return f"CONVERT({column.source_type}, {quoted}, 121)"
    if kind in _ROWVERSION:
        return f"CONVERT(binary(8), {quoted}, 1)"
    if kind in _BINARY:
        return f"CONVERT({column.source_type}, {quoted}, 1)"
    if kind in _CHARACTERS:
        collated = f"{quoted} COLLATE {column.collation}" if column.collation else quoted
        return f"CONVERT({'nvarchar(128)' if kind == 'sysname' else column.source_type}, {collated})"
    return f"CONVERT({column.source_type}, {quoted})"


def after(columns: Sequence[ColumnPlan], position: Position) -> str:
    """The rows that come after the position: the full row-value comparison (trap 4).

    SQL Server knows no row values, so it is spelled out; the first comparison alone is what an index can seek.
    """
    if not position:
        return ""
    condition = _beyond(columns, position, ">")
    return f"{_seek(columns, position, '>=')} AND ({condition})" if len(position) > 1 else condition


def up_to(columns: Sequence[ColumnPlan], position: Position) -> str:
    """The rows up to the position, and the row at it."""
    if not position:
        return ""
    if len(position) == 1:
        return _seek(columns, position, "<=")
    return f"{_seek(columns, position, '<=')} AND ({_beyond(columns, position, '<', last='<=')})"


def at_least(column: ColumnPlan, text: str) -> str:
    """The rows whose column is at the value or above it."""
    return f"{quote_source(column.source)} >= {value_of(column, text)}"


def needs_text(column: ColumnPlan) -> bool:
    """Whether the value loses something on its way into Arrow, which keeps microseconds (trap 7)."""
    return column.source_type in ("time(7)", "datetime2(7)", "datetimeoffset(7)")


def text_of_value(column: ColumnPlan, value: Any) -> str:
    """The text of a value as Arrow gives it; for columns that lose nothing on the way."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return f"0x{value.hex().upper()}"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dt.datetime):
        return _text_of_time(column, value)
    if isinstance(value, dt.time):
        return value.isoformat(timespec="microseconds")
    return str(value)


def _text_of_time(column: ColumnPlan, value: dt.datetime) -> str:
    kind = _base(column)
    if kind == "datetimeoffset":
        naive = value.astimezone(dt.UTC).replace(tzinfo=None)
        return f"{naive.isoformat(sep=' ', timespec='microseconds')} +00:00"
    digits = {"datetime": "milliseconds", "smalldatetime": "seconds"}.get(kind, "microseconds")
    return value.isoformat(sep=" ", timespec=digits)


def _seek(columns: Sequence[ColumnPlan], position: Position, operator: str) -> str:
    return f"{quote_source(columns[0].source)} {operator} {value_of(columns[0], position[0])}"


def _beyond(columns: Sequence[ColumnPlan], position: Position, operator: str, last: str | None = None) -> str:
    column, rest = columns[0], position[1:]
    value = value_of(column, position[0])
    name = quote_source(column.source)
    if not rest:
        return f"{name} {last or operator} {value}"
    return f"{name} {operator} {value} OR ({name} = {value} AND ({_beyond(columns[1:], rest, operator, last)}))"


def _base(column: ColumnPlan) -> str:
    return column.source_type.partition("(")[0].lower()
