"""One sum per column, computed in both databases over the same rows. Pure.

Each value becomes the same bytes on both sides: text as UTF-8, times at the target's digits, floats as
their own bytes, numbers as their digits. The first seven bytes of the MD5 of each are summed, so that
neither the order of rows nor their number matters. Values that one side normalises have no checksum:
xml, json, sql_variant, vector, the types of extensions, and rowversion, which is the source's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.source.scan import rows_of
from etl_cli.runtime.type_map import base_type
from etl_cli.runtime.window import Window

Sums = dict[str, tuple[int, int]]
"""By target column: how many values are not NULL, and the sum of their hashes."""

_WITHOUT = frozenset({"xml", "json", "sql_variant", "vector", "timestamp", "rowversion"})
_WITHOUT_IN_SINK = frozenset({"real[]", "geometry", "geography", "vector"})
_UTF8 = "Latin1_General_100_BIN2_UTF8"


def summed_columns(plan: TablePlan) -> list[ColumnPlan]:
    """The columns that have a checksum."""
    return [
        column
        for column in plan.columns
        if _base(column) not in _WITHOUT and base_type(column.sink_type) not in _WITHOUT_IN_SINK and not column.derived
    ]


def can_be_summed(plan: TablePlan) -> bool:
    """Whether checksums are asked for, and any column has one."""
    return plan.validate == "checksums" and bool(summed_columns(plan))


def select_source(plan: TablePlan, window: Window) -> str:
    """One row: for each column of `summed_columns` the count and the sum, over the window's rows."""
    sums = []
    for column in summed_columns(plan):
        hashed = f"SUBSTRING(HASHBYTES('MD5', {_source_bytes(plan, column)}), 1, 7)"
        sums.append(f"COUNT_BIG({column.expression}), SUM(CONVERT(decimal(38,0), CONVERT(bigint, {hashed})))")
    return f"SELECT {', '.join(sums)} FROM {rows_of(plan, window)}"


def select_sink(plan: TablePlan, quoted: str, group: str = "") -> str:
    """The same for the rows of a table in the sink; with `group` one row for each of its values, that first."""
    sums = [f"{quote_sink(group)}"] if group else []
    for column in summed_columns(plan):
        name = quote_sink(column.target)
        hashed = f"('x' || left(md5({_sink_bytes(column, name)}), 14))::bit(56)::bigint"
        sums.append(f"count({name}), coalesce(sum({hashed}), 0)")
    return f"SELECT {', '.join(sums)} FROM {quoted}" + (f" GROUP BY {quote_sink(group)}" if group else "")


def as_sums(plan: TablePlan, row: Sequence[Any]) -> Sums:
    """What one row of either statement says."""
    return {
        column.target: (int(row[2 * n] or 0), int(row[2 * n + 1] or 0)) for n, column in enumerate(summed_columns(plan))
    }


def added(one: Sums, other: Sums) -> Sums:
    """The sums of both together."""
    columns = {**one, **other}
    return {c: tuple(a + b for a, b in zip(one.get(c, (0, 0)), other.get(c, (0, 0)), strict=True)) for c in columns}  # type: ignore[misc]


def differing(source: Sums, sink: Sums) -> list[str]:
    """The target's columns whose sums are not the same."""
    return [column for column in source if source[column] != sink.get(column, (0, 0))]


def _source_bytes(plan: TablePlan, column: ColumnPlan) -> str:
    kind, name = _base(column), column.expression
    if kind in ("char", "varchar", "nchar", "nvarchar", "text", "ntext", "sysname", "hierarchyid"):
        return _utf8(plan, name)
    if kind in ("bit", "tinyint", "smallint", "int", "bigint"):
        return f"CONVERT(varchar(20), {name})"
    if kind in ("decimal", "numeric"):
        return f"CONVERT(varchar(41), {name})"
    if kind in ("money", "smallmoney"):
        return f"CONVERT(varchar(41), CONVERT(decimal(19,4), {name}))"
    if kind in ("float", "real"):
        return f"CONVERT(binary({8 if column.sink_type == 'double precision' else 4}), {name})"
    if kind == "date":
        return f"CONVERT(char(10), {name}, 23)"
    if kind == "time":
        return f"LEFT(CONVERT(varchar(16), CONVERT(time(7), {name}), 121), 15)"
    if kind == "datetime":
        return f"CONVERT(varchar(23), {name}, 121)"
    if kind in ("datetime2", "smalldatetime"):
        return f"LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), {name}), 121), 26)"
    if kind == "datetimeoffset":
        instant = f"CONVERT(datetime2(7), SWITCHOFFSET({name}, '+00:00'))"
        return f"LEFT(CONVERT(varchar(27), {instant}, 121), 26)"
    return f"LOWER(CONVERT(char(36), {name}))" if kind == "uniqueidentifier" else name


def _utf8(plan: TablePlan, expression: str) -> str:
    if plan.nul_characters == "strip":
        expression = f"REPLACE({expression} COLLATE Latin1_General_100_BIN2, NCHAR(0), N'')"
    # by way of nvarchar(max): a varchar(n) of another code page would be cut at n bytes of UTF-8
    wide = f"CONVERT(nvarchar(max), {expression})"
    return f"CONVERT(varbinary(max), CONVERT(varchar(max), {wide} COLLATE {_UTF8}))"


def _sink_bytes(column: ColumnPlan, name: str) -> str:
    """An expression whose md5 is that of the source's bytes; md5 of a text is that of its UTF-8."""
    kind = _base(column)
    if kind == "bit":
        return f"{name}::int::text"
    if kind in ("money", "smallmoney"):
        return f"{name}::numeric(19,4)::text"
    if kind in ("float", "real"):
        return f"{'float8send' if column.sink_type == 'double precision' else 'float4send'}({name})"
    if kind == "date":
        return f"to_char({name}, 'YYYY-MM-DD')"
    if kind == "time":
        return f"to_char({name}, 'HH24:MI:SS.US')"
    if kind == "datetime":
        return f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.MS')"
    if kind in ("datetime2", "smalldatetime"):
        return f"to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"
    if kind == "datetimeoffset":
        return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    if column.sink_type == "bytea":
        return name
    return f"{name}::text"


def _base(column: ColumnPlan) -> str:
    return column.source_type.partition("(")[0].lower()
