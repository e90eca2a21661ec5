"""Columns to ROW bytes with numpy, a column at a time."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.results import ROW_TOKEN, RowBlock
from etl_cli.sandbox.standin.store.columns import CellColumn, Mask, NumberColumn, StoredColumn
from etl_cli.sandbox.standin.types import SqlType
from etl_cli.sandbox.standin.wire.types import INTN_SIZES, decimal_size, time_size
from etl_cli.sandbox.standin.wire.values import THIRDS_PER_DAY, TICKS_PER_DAY

Bytes = NDArray[np.uint8]
WIDE_ROW = 600  # bytes of text and binary a row above which joining cells beats scattering bytes
ROW_BYTE = ROW_TOKEN[0]


def encode_columns(columns: list[StoredColumn], count: int) -> RowBlock:
    """Return count rows of these columns, all of that length."""
    cells = sum(len(column.data) for column in columns if isinstance(column, CellColumn))
    if count == 0:
        return RowBlock(memoryview(b""), np.zeros(1, np.int32))
    if cells > WIDE_ROW * count:
        return _joined(columns, count)
    return _scattered(columns, count)


def _joined(columns: list[StoredColumn], count: int) -> RowBlock:
    lists = [[ROW_TOKEN] * count, *(_cell_list(column) for column in columns)]
    data = b"".join(chain.from_iterable(zip(*lists, strict=True)))
    lengths = sum((np.fromiter(map(len, cells), np.int64, count) for cells in lists), np.zeros(count, np.int64))
    return RowBlock(memoryview(data), _starts(lengths))


def _starts(lengths: NDArray[np.int64]) -> NDArray[Any]:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts.astype(np.int32) if starts[-1] < 2**31 else starts


def _cell_list(column: StoredColumn) -> list[bytes]:
    if isinstance(column, CellColumn):
        return column.cells(0, len(column))
    assert isinstance(column, NumberColumn)
    matrix = number_cells(column.type, column.array)
    cells: list[bytes] = [row.tobytes() for row in matrix]
    if column.missing is not None:
        for position in np.flatnonzero(column.missing).tolist():
            cells[position] = b"\0"
    return cells


def _scattered(columns: list[StoredColumn], count: int) -> RowBlock:
    parts = _merged(columns)
    lengths = np.ones(count, np.int64)
    for part in parts:
        lengths += part.lengths
    starts = _starts(lengths)
    out = np.empty(int(starts[-1]), np.uint8)
    cursor = starts[:-1].astype(np.int64)
    out[cursor] = ROW_BYTE
    cursor += 1
    for part in parts:
        part.scatter(out, cursor)
        cursor += part.lengths
    return RowBlock(out.data, starts)


class _Fixed:
    """Cells of one width; missing ones are a single 0."""

    def __init__(self, matrix: Bytes, missing: Mask | None) -> None:
        self.matrix = matrix
        self.missing = missing
        width = matrix.shape[1]
        self.lengths: Any = width if missing is None else np.where(missing, 1, width)

    def scatter(self, out: Bytes, cursor: NDArray[np.int64]) -> None:
        matrix = self.matrix
        if self.missing is not None:
            out[cursor[self.missing]] = 0
            matrix, cursor = matrix[~self.missing], cursor[~self.missing]
        out[cursor[:, None] + np.arange(matrix.shape[1])] = matrix


class _Ragged:
    """Cells of different lengths, one behind the other."""

    def __init__(self, column: CellColumn) -> None:
        self.data = np.frombuffer(column.data, np.uint8)
        self.offsets = column.offsets
        self.lengths: Any = np.diff(column.offsets)

    def scatter(self, out: Bytes, cursor: NDArray[np.int64]) -> None:
        shift = np.repeat(cursor - self.offsets[:-1], self.lengths)
        shift += np.arange(len(self.data))
        out[shift] = self.data


def _merged(columns: list[StoredColumn]) -> list[_Fixed | _Ragged]:
    """Neighbours of fixed width are scattered as one."""
    parts: list[_Fixed | _Ragged] = []
    for column in columns:
        if isinstance(column, CellColumn):
            parts.append(_Ragged(column))
            continue
        assert isinstance(column, NumberColumn)
        made = _Fixed(number_cells(column.type, column.array), column.missing)
        last = parts[-1] if parts else None
        if made.missing is None and isinstance(last, _Fixed) and last.missing is None:
            parts[-1] = _Fixed(np.hstack((last.matrix, made.matrix)), None)
        else:
            parts.append(made)
    return parts


def number_cells(kind: SqlType, array: NDArray[Any]) -> Bytes:
    """Return one row of bytes a value, the length byte first; as wire.values encodes one value."""
    name = kind.name
    if name in INTN_SIZES or name == "bit":
        return _with_length(_little(array, INTN_SIZES.get(name, 1)))
    if name in t.DECIMALS:
        sign = (array >= 0).astype(np.uint8)[:, None]
        return _with_length(sign, _little(np.abs(array), decimal_size(kind.precision) - 1))
    if name == "money":
        return _with_length(_little(array >> 32, 4), _little(array & 0xFFFFFFFF, 4))
    if name == "smallmoney":
        return _with_length(_little(array, 4))
    if kind.is_float:
        size = 4 if name == "real" else 8
        return _with_length(_bytes(array.astype(f"<f{size}"), size))
    return _temporal_cells(kind, array.astype(np.int64))


def _temporal_cells(kind: SqlType, array: NDArray[np.int64]) -> Bytes:
    if kind.name == "date":
        return _with_length(_little(array, 3))
    if kind.name == "datetime":
        return _with_length(_little(array // THIRDS_PER_DAY, 4), _little(array % THIRDS_PER_DAY, 4))
    if kind.name == "smalldatetime":
        return _with_length(_little(array // 1440, 2), _little(array % 1440, 2))
    size, unit = time_size(kind.scale), 10 ** (7 - kind.scale)
    if kind.name == "time":
        return _with_length(_little(array // unit, size))
    days = array // TICKS_PER_DAY
    return _with_length(_little((array - days * TICKS_PER_DAY) // unit, size), _little(days, 3))


def _bytes(array: NDArray[Any], size: int) -> Bytes:
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), size)


def _little(array: NDArray[Any], size: int) -> Bytes:
    """Return the low bytes of integers, little-endian."""
    return _bytes(array.astype("<i8"), 8)[:, :size]


def _with_length(*parts: Bytes) -> Bytes:
    width = sum(part.shape[1] for part in parts)
    length = np.full((len(parts[0]), 1), width, np.uint8)
    return np.hstack((length, *parts))
