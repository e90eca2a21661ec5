"""The portable reader: rows of any ODBC driver, through pyodbc, made into the same Arrow batches."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyodbc

from etl_cli.runtime.extract import reading
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.source.connect import Shard
from etl_cli.runtime.source.scan import select_rows, srid_of, texts_beside
from etl_cli.runtime.type_map import base_type
from etl_cli.runtime.window import Window

_DATETIMEOFFSET = -155
"""SQL_SS_TIMESTAMPOFFSET, which pyodbc does not know."""

_EPOCH = dt.date(1970, 1, 1).toordinal()

_ARROW = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "text": pa.large_string(),
    "xml": pa.large_string(),
    "jsonb": pa.large_string(),
    "uuid": pa.large_string(),
    "real[]": pa.large_string(),
    "bytea": pa.large_binary(),
    "character varying": pa.large_string(),
    "geometry": pa.large_binary(),
    "geography": pa.large_binary(),
    "vector": pa.large_string(),
}


class RowCursor:
    """Reads a task's rows with pyodbc; offers what mssql-python's reader offers."""

    def __init__(self, shard: Shard, plan: TablePlan, cursor: pyodbc.Cursor) -> None:
        self._shard = shard
        self._plan = plan
        self._cursor = cursor
        fields = [pa.field(c.source, arrow_type(c.sink_type)) for c in plan.columns]
        fields += [pa.field(srid_of(c), pa.int32()) for c in plan.columns if c.spatial]
        fields += [pa.field(name, pa.large_string()) for name in texts_beside(plan)]
        self._schema = pa.schema(fields)
        self._values = [_VALUES.get(str(field.type)) for field in self._schema]
        cursor.connection.add_output_converter(_DATETIMEOFFSET, _datetimeoffset)
        _decode_as_wide(cursor.connection)

    def ask(self, statement: str) -> tuple[Any, ...]:
        """The one row that a statement gives."""
        with reading(self._shard, self._plan):
            return tuple(self._cursor.execute(statement).fetchone())

    def scan(self, window: Window) -> None:
        """Start the scan of the window's rows."""
        with reading(self._shard, self._plan):
            self._cursor.execute(select_rows(self._plan, window))

    def fetch(self, rows: int) -> pa.RecordBatch:
        """At most `rows` further rows; an empty batch is the end."""
        with reading(self._shard, self._plan):
            fetched = self._cursor.fetchmany(rows)
            columns = list(zip(*fetched, strict=True)) if fetched else [()] * len(self._schema)
        arrays = [
            pa.array([v if v is None else convert(v) for v in values] if convert else values, field.type)
            for values, convert, field in zip(columns, self._values, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _decode_as_wide(connection: pyodbc.Connection) -> None:
    """Have all text handed over as UTF-16: a driver's narrow text is in the locale's encoding, not the column's.

    Half a surrogate pair becomes U+FFFD, as with mssql-python; SurrogateCheck tells the two apart.
    """
    for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
        connection.setdecoding(kind, encoding="utf-16-le", ctype=pyodbc.SQL_WCHAR)
    for kind in (pyodbc.SQL_WCHAR, pyodbc.SQL_WVARCHAR, pyodbc.SQL_WLONGVARCHAR):
        connection.add_output_converter(kind, _text)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-16-le", "replace")


def arrow_type(sink_type: str) -> pa.DataType:
    """The Arrow type in which a column of that Postgres type is read."""
    if sink_type.startswith("numeric("):
        precision, scale = sink_type.removeprefix("numeric(").rstrip(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    if sink_type.startswith("timestamp"):
        return pa.timestamp("us", tz="UTC" if "with time zone" in sink_type and "without" not in sink_type else None)
    return pa.time64("us") if sink_type.startswith("time(") else _ARROW[base_type(sink_type)]


def _datetimeoffset(raw: bytes) -> int:
    """SQL_SS_TIMESTAMPOFFSET_STRUCT to microseconds since 1970 UTC.

    The structure holds date and time at the offset, nanoseconds, and the offset's hours and minutes.
    The sum is made in integers, for an instant of the year 1 may lie before Python's first.
    """
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", raw)
    days = dt.date(year, month, day).toordinal() - _EPOCH
    minutes_in_all = (days * 24 + hour - hours) * 60 + minute - minutes
    return int(minutes_in_all * 60_000_000 + second * 1_000_000 + nanoseconds // 1000)


def _timestamp(value: dt.datetime | str | int) -> dt.datetime | int:
    """FreeTDS hands some times on as text, with up to seven digits."""
    if isinstance(value, str):
        text, _, rest = value.partition(".")
        digits, _, offset = rest.partition(" ")
        return dt.datetime.fromisoformat(f"{text}.{digits[:6].ljust(6, '0')}{offset.replace(' ', '')}")
    return value


def _time(value: dt.time | str) -> dt.time:
    if isinstance(value, str):
        text, _, digits = value.partition(".")
        return dt.time.fromisoformat(f"{text}.{digits[:6].ljust(6, '0')}")
    return value


def _date(value: dt.date | str) -> dt.date:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


_VALUES: dict[str, Callable[[Any], Any]] = {
    "timestamp[us]": _timestamp,
    "timestamp[us, tz=UTC]": _timestamp,
    "time64[us]": _time,
    "date32[day]": _date,
    "bool": bool,
    "large_string": str,
    "large_binary": bytes,
}
