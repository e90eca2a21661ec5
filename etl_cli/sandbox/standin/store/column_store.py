"""The unchanging body of a table's version: columns in the order of the clustered index."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin.sql.compare import Key, key_function
from etl_cli.sandbox.standin.store.columns import (
    CellColumn,
    NumberColumn,
    Positions,
    StoredColumn,
    cell_reader,
    stored_column,
)
from etl_cli.sandbox.standin.store.definitions import Index, Row, Table
from etl_cli.sandbox.standin.store.packed import Arrays, packed_column
from etl_cli.sandbox.standin.types import SqlType, SqlValue

Order = tuple[tuple[int, bool], ...]  # (column's position, descending)
BATCH = 4096


class ColumnStore:
    """Columns of equal length. row_ids rise nowhere in particular; None means first_id, first_id + 1, ..."""

    def __init__(
        self,
        columns: tuple[StoredColumn, ...],
        count: int,
        first_id: int = 0,
        row_ids: NDArray[np.int64] | None = None,
        natural: Order = (),
    ) -> None:
        self.columns = columns
        self.count = count
        self.first_id = first_id
        self.row_ids = row_ids
        self.natural = natural
        self.scans: dict[Any, Any] = {}
        self.latch = threading.RLock()
        self._orders: dict[Order, Positions | None] = {}
        self._keys: dict[tuple[int, SqlType], Any] = {}
        self._packed: dict[int, Arrays | None] = {}
        self._ranks: dict[tuple[int, SqlType], tuple[NDArray[np.int64], list[Any]]] = {}
        self._finders: dict[tuple[int, ...], Any] = {}
        self._by_id: dict[int, int] | None = None

    @property
    def byte_count(self) -> int:
        """Bytes of memory held by the columns."""
        return sum(column.byte_count for column in self.columns)

    def row_id(self, position: int) -> int:
        """Return the row's number at a position."""
        return self.first_id + position if self.row_ids is None else int(self.row_ids[position])

    def position(self, row_id: int) -> int | None:
        """Return the position of a row's number, None when the row is not in here."""
        if self.row_ids is None:
            place = row_id - self.first_id
            return place if 0 <= place < self.count else None
        if self._by_id is None:
            self._by_id = {number: place for place, number in enumerate(self.row_ids.tolist())}
        return self._by_id.get(row_id)

    def row(self, position: int) -> Row:
        """Return one whole row."""
        return tuple(column.pick((position,))[0] for column in self.columns)

    def rows(self, ordinals: Sequence[int], positions: Positions | None = None) -> Iterator[Row]:
        """Yield the wanted columns of all rows, or of those at positions, a batch at a time."""
        total = self.count if positions is None else len(positions)
        for start in range(0, total, BATCH):
            stop = min(start + BATCH, total)
            if not ordinals:
                yield from [()] * (stop - start)
            elif positions is None:
                yield from zip(*(self.columns[o].values(start, stop) for o in ordinals), strict=True)
            else:
                part = positions[start:stop]
                yield from zip(*(self.columns[o].pick(part) for o in ordinals), strict=True)

    def keys(self, ordinal: int, kind: SqlType) -> NDArray[Any] | list[Any]:
        """Return what compares as the column's values do as values of type kind: an array, or keys with None."""
        column = self.columns[ordinal]
        if isinstance(column, NumberColumn):
            return column.array
        with self.latch:
            if (ordinal, kind) not in self._keys:
                self._keys[ordinal, kind] = _keyed(column, key_function(kind), self.count)
            found: list[Any] = self._keys[ordinal, kind]
            return found

    def order(self, order: Order) -> Positions | None:
        """Return the positions in this order, None when the rows lie so already. Ties keep their place."""
        if self.natural[: len(order)] == order:
            return None
        with self.latch:
            if order not in self._orders:
                self._orders[order] = self._sorted(order)
            return self._orders[order]

    def _sorted(self, order: Order) -> Positions | None:
        ranks = [self._rank(ordinal, descending) for ordinal, descending in reversed(order)]
        positions = np.lexsort(tuple(part for parts in ranks for part in parts))
        return None if bool((positions == np.arange(self.count)).all()) else positions

    def _rank(self, ordinal: int, descending: bool) -> tuple[NDArray[Any], ...]:
        """Return sortable numbers, the least important first; last the flags that put NULL first (or behind)."""
        column = self.columns[ordinal]
        present = ~column.nulls()
        parts = self.packed(ordinal) or (self.ranks(ordinal, column.type)[0],)
        if descending:
            parts = tuple(-part if part.dtype.kind == "f" else ~part for part in parts)
        numbers = tuple(np.where(present, part, np.zeros(1, part.dtype)) for part in reversed(parts))
        return (*numbers, ~present if descending else present)

    def packed(self, ordinal: int) -> Arrays | None:
        """Return arrays that compare as the column's values do, None for a type that is not packed."""
        with self.latch:
            if ordinal not in self._packed:
                self._packed[ordinal] = packed_column(self.columns[ordinal])
            return self._packed[ordinal]

    def has_ranks(self, ordinal: int, kind: SqlType) -> bool:
        """Whether ranks are at hand."""
        return (ordinal, kind) in self._ranks

    def ranks(self, ordinal: int, kind: SqlType) -> tuple[NDArray[np.int64], list[Any]]:
        """Return each value's place among the sorted distinct keys (-1 for NULL), and these keys."""
        with self.latch:
            if (ordinal, kind) not in self._ranks:
                self._ranks[ordinal, kind] = self._new_ranks(ordinal, kind)
            return self._ranks[ordinal, kind]

    def _new_ranks(self, ordinal: int, kind: SqlType) -> tuple[NDArray[np.int64], list[Any]]:
        column = self.columns[ordinal]
        if isinstance(column, CellColumn):
            cells: list[Any] = column.cells(0, self.count)
            known = _cell_keys(column, key_function(kind), cells)
        else:
            cells = self._listed_keys(ordinal)
            known = {key: key for key in cells}
        distinct = sorted({key for key in known.values() if key is not None})
        ranks = {key: rank for rank, key in enumerate(distinct)}
        ranks[None] = -1
        of_cell = {cell: ranks[key] for cell, key in known.items()}
        return np.fromiter(map(of_cell.__getitem__, cells), np.int64, self.count), distinct

    def find(self, index: Index, key: tuple[Any, ...]) -> int | None:
        """Return the position of the row with this key of a unique index, None when there is none."""
        ordinals = tuple(ordinal for ordinal, _ in index.columns)
        with self.latch:
            if ordinals not in self._finders:
                self._finders[ordinals] = self._finder(ordinals)
            finder = self._finders[ordinals]
        if isinstance(finder, dict):
            return finder.get(key)
        values, positions = finder
        place = int(np.searchsorted(values, key[0])) if key[0] is not None else len(values)
        if place < len(values) and values[place] == key[0]:
            return place if positions is None else int(positions[place])
        return None

    def _finder(self, ordinals: tuple[int, ...]) -> dict[Any, int] | tuple[NDArray[Any], Positions | None]:
        """One number column is searched by halving; other keys get a dictionary."""
        column = self.columns[ordinals[0]]
        if len(ordinals) == 1 and isinstance(column, NumberColumn) and column.missing is None:
            positions = self.order(((ordinals[0], False),))
            return (column.array if positions is None else column.array[positions]), positions
        keyed = [self._listed_keys(ordinal) for ordinal in ordinals]
        return {key: place for place, key in enumerate(zip(*keyed, strict=True))}

    def _listed_keys(self, ordinal: int) -> list[Any]:
        column = self.columns[ordinal]
        if isinstance(column, NumberColumn):
            return column.values(0, self.count)
        found = self.keys(ordinal, column.type)
        assert isinstance(found, list)
        return found


def _keyed(column: StoredColumn, key: Key | None, count: int) -> list[Any]:
    """Return the keys of all values; equal cells are looked at once."""
    if isinstance(column, CellColumn):
        cells = column.cells(0, count)
        known = _cell_keys(column, key, cells)
        return [known[cell] for cell in cells]
    values = column.values(0, count)
    return values if key is None else [None if value is None else key(value) for value in values]


def _cell_keys(column: CellColumn, key: Key | None, cells: list[bytes]) -> dict[bytes, Any]:
    """Return the key of each distinct cell."""
    read = cell_reader(column.type)
    known = {cell: read(cell) for cell in set(cells)}
    return known if key is None else {cell: None if value is None else key(value) for cell, value in known.items()}


def clustered_order(table: Table) -> Order:
    """Return the order in which the table's rows lie."""
    return () if table.clustered is None else table.clustered.columns


def empty_store(table: Table) -> ColumnStore:
    """Return the body of a table without bulk rows."""
    return ColumnStore(tuple(stored_column(kind, []) for kind in table.types), 0)


def build_store(
    table: Table, columns: Sequence[StoredColumn], first_id: int, row_ids: NDArray[np.int64] | None = None
) -> ColumnStore:
    """Return the columns sorted by the clustered index."""
    order = clustered_order(table)
    count = len(columns[0]) if columns else 0
    unsorted = ColumnStore(tuple(columns), count, first_id, row_ids)
    positions = unsorted.order(order) if order and count else None
    if positions is None:
        unsorted.natural = order
        return unsorted
    numbers = None if row_ids is None else row_ids[positions]
    return ColumnStore(tuple(column.take(positions) for column in columns), count, first_id, numbers, order)


def store_of_rows(table: Table, numbered: Sequence[tuple[int, Row]]) -> ColumnStore:
    """Return the body that holds these (row number, row) pairs."""
    columns: list[Sequence[SqlValue]] = (
        list(zip(*(row for _, row in numbered), strict=True)) if numbered else [() for _ in table.columns]
    )
    stored = [stored_column(kind, values) for kind, values in zip(table.types, columns, strict=True)]
    return build_store(table, stored, 0, np.array([number for number, _ in numbered], np.int64))
