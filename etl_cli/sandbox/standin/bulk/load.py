"""Bulk loading: natural Python values or numpy arrays into the body of a table."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, duplicate_key, null_refused
from etl_cli.sandbox.standin.sql import spatial
from etl_cli.sandbox.standin.sql.convert import conversion, fit_text, parse_number, text_length
from etl_cli.sandbox.standin.sql.temporal import (
    DATETIME_FIRST,
    DATETIME_LAST,
    DAY,
    LAST_TICK,
    MINUTE,
    SECOND,
    SMALLDATETIME_LAST,
)
from etl_cli.sandbox.standin.store.column_store import ColumnStore, build_store
from etl_cli.sandbox.standin.store.columns import (
    CellColumn,
    NumberColumn,
    StoredColumn,
    number_dtype,
    stored_column,
    text_column,
)
from etl_cli.sandbox.standin.store.definitions import Column, Index, Table
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.store.version import TableVersion
from etl_cli.sandbox.standin.types import SqlType, SqlValue, Variant

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.sql.modify import Writer

EPOCH_DAYS = datetime.date(1970, 1, 1).toordinal() - 1
Values = Sequence[Any] | NDArray[Any]


def engine_value(kind: SqlType, value: Any) -> SqlValue:
    """Return the engine's value of a natural one: int, Decimal, float, str, bytes, date, time, datetime, UUID.

    An int given for decimal is a whole number; for dates and times it is the engine's own (see types). Text for
    numbers, dates, uniqueidentifier and hierarchyid is read as CAST reads it. OverflowError, ValueError or SqlError
    where the type cannot hold the value exactly.
    """
    if value is None:
        return None
    if isinstance(value, str) and not kind.is_text and kind.name not in ("xml", "sql_variant"):
        return _from_text(kind, value)
    if kind.is_integer:
        low, high = t.INTEGERS[kind.name]
        if not low <= int(value) <= high:
            raise OverflowError(f"{value} does not fit into {kind.name}")
        return int(value)
    if kind.is_scaled:
        return _scaled(kind, value)
    if kind.is_float:
        return float(np.float32(value)) if kind.name == "real" else float(value)
    if kind.is_text:
        return _text(kind, value)
    if kind.is_temporal and not isinstance(value, (int, tuple)):
        return _temporal(kind, value)
    if kind.name == "uniqueidentifier" and isinstance(value, uuid.UUID):
        return value.bytes_le
    return variant(value) if kind.name == "sql_variant" else value


def _from_text(kind: SqlType, value: str) -> SqlValue:
    if kind.is_number:
        return parse_number(value, t.nvarchar(), kind)
    if kind.name in t.USER_TYPES:
        return spatial.parse(kind.name, value)
    return conversion(t.nvarchar(), kind)(value)


def _scaled(kind: SqlType, value: Any) -> int:
    with decimal.localcontext(prec=80):
        scaled = decimal.Decimal(value).scaleb(kind.scale)
        if scaled != int(scaled):
            raise ValueError(f"{value} has more digits than {kind.declaration()}")
        limit = 10**kind.precision if kind.name in t.DECIMALS else t.MONEYS[kind.name][1] + 1
        if abs(scaled) > limit - 1 and int(scaled) != -limit:
            raise OverflowError(f"{value} does not fit into {kind.declaration()}")
        return int(scaled)


def _text(kind: SqlType, value: str) -> str:
    if not kind.is_large and text_length(kind, value) > kind.length:
        raise ValueError(f"text of {len(value)} characters does not fit into {kind.declaration()}")
    return fit_text(kind, value)


def _temporal(kind: SqlType, value: Any) -> SqlValue:
    if kind.name == "date":
        return value.toordinal() - 1
    if kind.name == "time":
        return (value.hour * 3600 + value.minute * 60 + value.second) * SECOND + value.microsecond * 10
    offset = value.utcoffset() or datetime.timedelta()
    day = (value.toordinal() - 1) * DAY
    ticks = day + (value.hour * 3600 + value.minute * 60 + value.second) * SECOND + value.microsecond * 10
    minutes = int(offset.total_seconds()) // 60
    if kind.name == "datetimeoffset":
        return ticks - minutes * MINUTE, minutes
    return conversion(t.datetime2(7), kind)(ticks)


def variant(value: Any) -> Variant:
    """Return the sql_variant of a natural value: int, float, str, bytes, Decimal, datetime, UUID."""
    if isinstance(value, Variant):
        return value
    kinds: dict[type, SqlType] = {
        bool: t.BIT, float: t.FLOAT, uuid.UUID: t.GUID, datetime.datetime: t.datetime2(7), datetime.date: t.DATE,
    }  # fmt: skip
    if isinstance(value, decimal.Decimal):
        _, digits, exponent = value.as_tuple()
        scale = max(-int(exponent), 0)
        kind = t.decimal(max(len(digits), scale, 1), scale)
    elif isinstance(value, (str, bytes)):
        kind = t.nvarchar(max(t.utf16_length(value), 1)) if isinstance(value, str) else t.varbinary(max(len(value), 1))
    elif type(value) is int:
        kind = t.INT if -(2**31) <= value < 2**31 else t.BIGINT
    else:
        kind = kinds[type(value)]
    return Variant(kind, engine_value(kind, value))


def column_of(kind: SqlType, values: Values) -> StoredColumn:
    """Return a stored column. numpy arrays: integers are the engine's own values (decimals scaled), datetime64
    becomes dates and times, masked arrays mark NULL; anything else goes value by value.
    """
    dtype = number_dtype(kind)
    if isinstance(values, np.ndarray) and dtype is not None and values.dtype.kind in "iubfM":
        missing = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        array = np.ma.getdata(values)
        if array.dtype.kind == "M":
            missing = np.isnat(array) if missing is None else missing | np.isnat(array)
            array = np.where(np.isnat(array), 0, _moments(kind, array))
        _refuse_overflow(kind, array if missing is None else array[~missing])
        return NumberColumn(kind, array.astype(dtype), missing)
    natural = values.tolist() if isinstance(values, np.ndarray) else values
    if kind.is_text:
        return text_column(kind, natural)
    return stored_column(kind, [engine_value(kind, value) for value in natural])


def _refuse_overflow(kind: SqlType, array: NDArray[Any]) -> None:
    """Raise OverflowError for numbers that the type does not hold."""
    if array.dtype.kind not in "iu" or not len(array) or kind.is_float:
        return
    low, high = _limits(kind)
    if int(array.min()) < low or int(array.max()) > high:
        raise OverflowError(f"{array.min()} to {array.max()} does not fit into {kind.declaration()}")


def _limits(kind: SqlType) -> tuple[int, int]:
    """Return the least and the greatest value as the engine holds it."""
    if kind.name in t.DECIMALS:
        return 1 - 10**kind.precision, 10**kind.precision - 1
    temporal = {
        "date": (0, LAST_TICK // DAY),
        "time": (0, DAY - 1),
        "datetime": (DATETIME_FIRST, DATETIME_LAST),
        "smalldatetime": (0, SMALLDATETIME_LAST),
        "datetime2": (0, LAST_TICK),
    }
    return t.INTEGERS.get(kind.name) or t.MONEYS.get(kind.name) or temporal[kind.name]


def _moments(kind: SqlType, array: NDArray[Any]) -> NDArray[np.int64]:
    if kind.name == "date":
        return array.astype("datetime64[D]").astype(np.int64) + EPOCH_DAYS
    if kind.name != "datetime2":
        raise ValueError(f"datetime64 is not taken for {kind.declaration()}")
    unit = 10 ** (7 - kind.scale)
    days = array.astype("datetime64[D]")
    rest = (array - days).astype("timedelta64[ns]").astype(np.int64) // 100
    ticks: NDArray[np.int64] = (days.astype(np.int64) + EPOCH_DAYS) * DAY + rest // unit * unit
    return ticks


def load(table: Table, transaction: Transaction, writer: Writer, columns: Mapping[str, Values]) -> int:
    """Append rows given as columns; left out are identity, rowversion, computed columns, and those with a default.

    Returns the count. 207 for an unknown column, 515, 2627 and 2601 as INSERT; ValueError for unequal lengths.
    """
    given = {name.lower(): values for name, values in columns.items()}
    unknown = next((name for name in given if name not in table.positions), None)
    if unknown is not None:
        raise SqlError(207, f"Invalid column name '{unknown}'.")
    lengths = {len(values) for values in given.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of unequal lengths: {sorted(lengths)}")
    count = lengths.pop()
    transaction.lock(("table", table.object_id))
    transaction.refresh()
    stored = [
        column_of(column.type, given[column.name.lower()]) if column.name.lower() in given
        else _made(column, count, table, transaction, writer)
        for column in table.columns
    ]  # fmt: skip
    stored = [
        _computed(table, place, stored, count, writer) if column.computed is not None else stored[place]
        for place, column in enumerate(table.columns)
    ]
    _refuse_nulls(table, stored, transaction)
    _put(table, stored, count, transaction)
    writer.track_loaded(ColumnStore(tuple(stored), count).rows(range(len(stored))))
    return count


def _made(column: Column, count: int, table: Table, transaction: Transaction, writer: Writer) -> StoredColumn:
    """Return the values of a column that is not given."""
    if column.is_rowversion:
        return stored_column(column.type, [transaction.new_rowversion() for _ in range(count)])
    if column.identity is not None:
        runtime = transaction.database.runtime(table.object_id)
        seed, step = column.identity
        first = seed if runtime.last_identity is None else runtime.last_identity + step
        runtime.last_identity = first + step * (count - 1)
        return column_of(column.type, np.arange(first, first + step * count, step))
    if column.computed is not None:
        return stored_column(column.type, [None] * count)
    default = writer.default(column)
    value = conversion(default.type, column.type)(default.value)
    return stored_column(column.type, [value] * count)


def _computed(table: Table, place: int, stored: list[StoredColumn], count: int, writer: Writer) -> StoredColumn:
    rows = ColumnStore(tuple(stored), count).rows(range(len(stored)))
    return stored_column(table.types[place], [writer.computed_value(place, row) for row in rows])


def _refuse_nulls(table: Table, stored: list[StoredColumn], transaction: Transaction) -> None:
    for column, values in zip(table.columns, stored, strict=True):
        if not column.nullable and bool(values.nulls().any()):
            raise null_refused(column.name, f"{transaction.database.name}.{table.full_name}", "INSERT")


def _put(table: Table, stored: list[StoredColumn], count: int, transaction: Transaction) -> None:
    """Give the table a body of its rows so far and the new ones."""
    runtime = transaction.database.runtime(table.object_id)
    first = runtime.number_rows(count)
    before = list(transaction.version(table).numbered_rows())
    row_ids = None
    if before:
        old = [list(values) for values in zip(*(row for _, row in before), strict=True)]
        stored = [_appended(column, values) for column, values in zip(stored, old, strict=True)]
        row_ids = np.concatenate(([number for number, _ in before], np.arange(first, first + count))).astype(np.int64)
    store = build_store(table, stored, first, row_ids)
    for index in table.unique_indexes:
        _refuse_duplicates(table, index, store)
    transaction.replace_rows(table, TableVersion(store))


def _appended(column: StoredColumn, before: list[SqlValue]) -> StoredColumn:
    return stored_column(column.type, before + column.values(0, len(column)))


def _refuse_duplicates(table: Table, index: Index, store: ColumnStore) -> None:
    """Raise 2627 or 2601 for a key that comes twice."""
    ordinals = [ordinal for ordinal, _ in index.columns]
    numbers = [store.columns[ordinal] for ordinal in ordinals]
    if len(numbers) == 1 and isinstance(numbers[0], NumberColumn) and numbers[0].missing is None:
        double = len(np.unique(numbers[0].array)) < store.count
    else:
        keys = [_keys(store, ordinal) for ordinal in ordinals]
        double = len(set(zip(*keys, strict=True))) < store.count
    if double:
        raise duplicate_key(index.constraint, index.name, table.full_name, "of a bulk load")


def _keys(store: ColumnStore, ordinal: int) -> list[Any]:
    column = store.columns[ordinal]
    if isinstance(column, CellColumn):
        keys = store.keys(ordinal, column.type)
        assert isinstance(keys, list)
        return keys
    return column.values(0, store.count)
