"""Columns as arrays of integers that compare as their values do; wide values take two arrays, the first counts most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin.sql.compare import key_function
from etl_cli.sandbox.standin.store.columns import CellColumn, NumberColumn, StoredColumn
from etl_cli.sandbox.standin.types import SqlType, SqlValue
from etl_cli.sandbox.standin.wire.types import time_size
from etl_cli.sandbox.standin.wire.values import TICKS_PER_DAY

WIDTH = 16  # bytes of the widest value that is packed
LENGTH_BYTES = 2
GUID_ORDER = [10, 11, 12, 13, 14, 15, 8, 9, 6, 7, 4, 5, 0, 1, 2, 3]  # of the stored bytes, the first counts most
Arrays = tuple[NDArray[Any], ...]


def packed_column(column: StoredColumn) -> Arrays | None:
    """Return the arrays of a column, with anything where it is NULL; None for a type that is not packed."""
    if isinstance(column, NumberColumn):
        return (column.array,)
    if not isinstance(column, CellColumn) or not len(column) or not is_packed(column.type):
        return None
    kind = column.type
    if kind.name == "uniqueidentifier":
        return _halves(_payloads(column, 1, WIDTH)[:, GUID_ORDER])
    if kind.name == "datetimeoffset":
        return (_ticks(_payloads(column, 1, time_size(kind.scale) + 3), kind.scale),)
    return _halves(_payloads(column, LENGTH_BYTES, WIDTH))


def is_packed(kind: SqlType) -> bool:
    """Whether columns of cells of this type are packed."""
    if kind.is_binary:
        return not kind.is_large and 0 < kind.length <= WIDTH
    return kind.name in ("uniqueidentifier", "datetimeoffset")


def packed_value(kind: SqlType, value: SqlValue) -> tuple[int, ...] | None:
    """Return what a value is beside packed_column's arrays; None for bytes that are longer than any of them."""
    key = key_function(kind)
    found = value if key is None else key(value)
    if not isinstance(found, bytes):
        return (found,)
    if len(found) > WIDTH:
        return None
    data = found.ljust(WIDTH, b"\0")
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")


def _payloads(column: CellColumn, skipped: int, width: int) -> NDArray[np.uint8]:
    """Return width bytes behind the length of each cell, zeros behind shorter ones."""
    data = np.frombuffer(column.data, np.uint8)
    starts, lengths = column.offsets[:-1] + skipped, np.diff(column.offsets) - skipped
    out = np.zeros((len(column), width), np.uint8)
    for place in range(width):
        there = lengths > place
        out[there, place] = data[starts[there] + place]
    return out


def _halves(matrix: NDArray[np.uint8]) -> Arrays:
    numbers = np.ascontiguousarray(matrix).view(">u8").astype(np.uint64)
    return numbers[:, 0], numbers[:, 1]


def _ticks(matrix: NDArray[np.uint8], scale: int) -> NDArray[np.int64]:
    size = time_size(scale)
    unit = int(10 ** (7 - scale))
    found: NDArray[np.int64] = _little(matrix[:, :size]) * unit + _little(matrix[:, size:]) * TICKS_PER_DAY
    return found


def _little(matrix: NDArray[np.uint8]) -> NDArray[np.int64]:
    found = np.zeros(len(matrix), np.int64)
    for place in range(matrix.shape[1]):
        found += matrix[:, place].astype(np.int64) << (8 * place)
    return found


def compared(operator: str, arrays: Arrays, wanted: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where array values stand in a relation to one value."""
    equal = _equal(arrays, wanted)
    if operator in ("=", "<>"):
        return equal if operator == "=" else ~equal
    less = operator in ("<", "<=")
    found: NDArray[np.bool_] = np.zeros(len(arrays[0]), np.bool_)
    so_far: Any = True
    for array, number in zip(arrays, wanted, strict=True):
        found |= so_far & (array < number if less else array > number)
        so_far = so_far & (array == number)
    return found | equal if operator in ("<=", ">=") else found


def _equal(arrays: Arrays, wanted: tuple[int, ...]) -> NDArray[np.bool_]:
    found: Any = arrays[0] == wanted[0]
    for array, number in zip(arrays[1:], wanted[1:], strict=True):
        found = found & (array == number)
    return np.asarray(found, np.bool_)
