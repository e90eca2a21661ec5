"""Columns of a bulk-loaded table: numbers as numpy arrays, everything else as ready cells of the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.types import SqlType, SqlValue
from etl_cli.sandbox.standin.wire.types import Reader
from etl_cli.sandbox.standin.wire.values import TEXT_POINTER, encoder, payload_encoder, read_value

Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]
COUNTED_NULL = b"\xff\xff"

NUMBER_DTYPES: dict[str, type[np.number[Any]]] = {
    "bit": np.uint8, "tinyint": np.uint8, "smallint": np.int16, "int": np.int32, "bigint": np.int64,
    "real": np.float32, "float": np.float64, "money": np.int64, "smallmoney": np.int32, "date": np.int32,
    "time": np.int64, "datetime": np.int64, "smalldatetime": np.int32, "datetime2": np.int64,
}  # fmt: skip


def number_dtype(kind: SqlType) -> type[np.number[Any]] | None:
    """Return the array type that holds a column of this type, None when no array does."""
    if kind.name in t.DECIMALS:
        return np.int64 if kind.precision <= 18 else None
    return NUMBER_DTYPES.get(kind.name)


class StoredColumn(Protocol):
    """A column of n rows."""

    type: SqlType

    def __len__(self) -> int: ...

    def values(self, start: int, stop: int) -> list[SqlValue]:
        """Return the values of rows start..stop."""

    def pick(self, positions: Sequence[int] | Positions) -> list[SqlValue]:
        """Return the values at these positions."""

    def nulls(self) -> Mask:
        """Return where the value is NULL."""

    def take(self, positions: Positions) -> StoredColumn:
        """Return the column with its rows in this order."""

    @property
    def byte_count(self) -> int:
        """Bytes of memory held."""


class NumberColumn:
    """Numbers and dates; missing marks NULL, None when there is none."""

    def __init__(self, kind: SqlType, array: NDArray[Any], missing: Mask | None = None) -> None:
        self.type = kind
        self.array = array
        self.missing = missing if missing is not None and missing.any() else None

    def __len__(self) -> int:
        return len(self.array)

    def values(self, start: int, stop: int) -> list[SqlValue]:
        """Return the values of rows start..stop."""
        return self._listed(slice(start, stop))

    def pick(self, positions: Sequence[int] | Positions) -> list[SqlValue]:
        """Return the values at these positions."""
        return self._listed(np.asarray(positions, np.intp))

    def _listed(self, where: slice | Positions) -> list[SqlValue]:
        found: list[SqlValue] = self.array[where].tolist()
        if self.missing is not None:
            for position in np.flatnonzero(self.missing[where]).tolist():
                found[position] = None
        return found

    def nulls(self) -> Mask:
        """Return where the value is NULL."""
        return np.zeros(len(self.array), np.bool_) if self.missing is None else self.missing

    def take(self, positions: Positions) -> StoredColumn:
        """Return the column with its rows in this order."""
        missing = None if self.missing is None else self.missing[positions]
        return NumberColumn(self.type, self.array[positions], missing)

    @property
    def byte_count(self) -> int:
        """Bytes of memory held."""
        return self.array.nbytes + (0 if self.missing is None else self.missing.nbytes)


class CellColumn:
    """Values as the bytes that they are in a row, one behind the other; offsets has n + 1 places."""

    def __init__(self, kind: SqlType, data: bytes, offsets: NDArray[np.int64]) -> None:
        self.type = kind
        self.data = data
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def cells(self, start: int, stop: int) -> list[bytes]:
        """Return the cells of rows start..stop."""
        bounds = self.offsets[start : stop + 1].tolist()
        data = self.data
        return [data[a:b] for a, b in pairwise(bounds)]

    def values(self, start: int, stop: int) -> list[SqlValue]:
        """Return the values of rows start..stop."""
        return list(map(cell_reader(self.type), self.cells(start, stop)))

    def pick(self, positions: Sequence[int] | Positions) -> list[SqlValue]:
        """Return the values at these positions."""
        places = np.asarray(positions, np.intp)
        read, data = cell_reader(self.type), self.data
        bounds = zip(self.offsets[places].tolist(), self.offsets[places + 1].tolist(), strict=True)
        return [read(data[a:b]) for a, b in bounds]

    def nulls(self) -> Mask:
        """Return where the value is NULL: the cell has NULL's length and NULL's first byte."""
        null = encoder(self.type)(None)
        lengths = np.diff(self.offsets)
        first = np.frombuffer(self.data, np.uint8)[self.offsets[:-1]] if len(self.data) else np.zeros(0, np.uint8)
        return np.asarray((lengths == len(null)) & (first == null[0]), np.bool_)

    def take(self, positions: Positions) -> StoredColumn:
        """Return the column with its rows in this order."""
        offsets, data = self.offsets, self.data
        cells = [data[offsets[p] : offsets[p + 1]] for p in positions.tolist()]
        return cell_column(self.type, cells)

    @property
    def byte_count(self) -> int:
        """Bytes of memory held."""
        return len(self.data) + self.offsets.nbytes


class ObjectColumn:
    """Values that have no form on the wire: hierarchyid, geography."""

    def __init__(self, kind: SqlType, objects: list[SqlValue]) -> None:
        self.type = kind
        self.objects = objects

    def __len__(self) -> int:
        return len(self.objects)

    def values(self, start: int, stop: int) -> list[SqlValue]:
        """Return the values of rows start..stop."""
        return self.objects[start:stop]

    def pick(self, positions: Sequence[int] | Positions) -> list[SqlValue]:
        """Return the values at these positions."""
        return [self.objects[p] for p in positions]

    def nulls(self) -> Mask:
        """Return where the value is NULL."""
        return np.fromiter((value is None for value in self.objects), np.bool_, len(self.objects))

    def take(self, positions: Positions) -> StoredColumn:
        """Return the column with its rows in this order."""
        return ObjectColumn(self.type, [self.objects[p] for p in positions])

    @property
    def byte_count(self) -> int:
        """Bytes of memory held, roughly."""
        return 200 * len(self.objects)


def cell_reader(kind: SqlType) -> Callable[[bytes], SqlValue]:
    """Return the function from a cell to its value; short text and bytes have quick ways."""
    counted = (kind.is_text or kind.is_binary) and not kind.is_large
    if counted and kind.is_binary:
        return lambda cell: None if cell == COUNTED_NULL else cell[2:]
    if counted and kind.is_unicode:
        return lambda cell: None if cell == COUNTED_NULL else cell[2:].decode("utf-16-le", "surrogatepass")
    if counted:
        decode = kind.rules.decode
        return lambda cell: None if cell == COUNTED_NULL else decode(cell[2:])
    if kind.name == "uniqueidentifier":
        return lambda cell: cell[1:] or None
    return lambda cell: read_cell(kind, cell)


def read_cell(kind: SqlType, cell: bytes) -> SqlValue:
    """Return the value of a cell."""
    if kind.name in t.OLD_LARGE:
        return None if cell == b"\0" else read_value(kind, Reader(cell, len(TEXT_POINTER)))
    return read_value(kind, Reader(cell))


def cell_column(kind: SqlType, cells: Sequence[bytes]) -> CellColumn:
    """Return the column of ready cells."""
    offsets = np.zeros(len(cells) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, cells), np.int64, len(cells)), out=offsets[1:])
    return CellColumn(kind, b"".join(cells), offsets)


def stored_column(kind: SqlType, values: Sequence[SqlValue]) -> StoredColumn:
    """Return the column of the engine's own values."""
    dtype = number_dtype(kind)
    if dtype is not None:
        missing = np.fromiter((value is None for value in values), np.bool_, len(values))
        filled = [0 if value is None else value for value in values] if missing.any() else values
        return NumberColumn(kind, np.array(filled, dtype), missing)
    if kind.name in t.USER_TYPES:
        return ObjectColumn(kind, list(values))
    return cell_column(kind, list(map(encoder(kind), values)))


def text_column(kind: SqlType, values: Sequence[str | None]) -> CellColumn:
    """Return a column of natural text, all at once; ValueError for text that is too long."""
    encode = payload_encoder(kind)
    if kind.is_large:
        return cell_column(kind, list(map(encoder(kind), values)))
    unit = 2 if kind.is_unicode else 1
    payloads = [b"" if value is None else encode(value) for value in values]
    if kind.name in ("char", "nchar"):
        space, width = " ".encode("utf-16-le")[:unit], kind.length
        payloads = [data + space * (width - len(data) // unit) for data in payloads]
    longest = max(map(len, payloads), default=0)
    if longest > kind.length * unit:
        raise ValueError(f"text of {longest // unit} characters does not fit into {kind.declaration()}")
    return _counted_cells(kind, values, payloads)


def _counted_cells(kind: SqlType, values: Sequence[str | None], payloads: list[bytes]) -> CellColumn:
    lengths = np.fromiter(map(len, payloads), "<u2", len(payloads))
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    heads = np.where(missing, 0xFFFF, lengths).astype("<u2").view("V2").tolist()
    if missing.any():
        payloads = [b"" if value is None else data for value, data in zip(values, payloads, strict=True)]
    offsets = np.zeros(len(payloads) + 1, np.int64)
    np.cumsum(np.where(missing, 0, lengths).astype(np.int64) + 2, out=offsets[1:])
    return CellColumn(kind, b"".join(chain.from_iterable(zip(heads, payloads, strict=True))), offsets)
