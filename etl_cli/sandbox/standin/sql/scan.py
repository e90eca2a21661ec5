"""Queries over one stored table: counted, bounded and replayed from encoded rows where that is possible."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.bulk.encode import encode_columns
from etl_cli.sandbox.standin.bulk.replay import EncodedScan, chunk_rows
from etl_cli.sandbox.standin.results import RowBlock, encode_rows
from etl_cli.sandbox.standin.sql.columnwise import ColumnReader
from etl_cli.sandbox.standin.sql.compare import sort_key
from etl_cli.sandbox.standin.sql.select import Query, Row
from etl_cli.sandbox.standin.sql.vector import ColumnFilter
from etl_cli.sandbox.standin.store.column_store import Order
from etl_cli.sandbox.standin.store.columns import (
    CellColumn,
    NumberColumn,
    Positions,
    StoredColumn,
    stored_column,
    text_column,
)
from etl_cli.sandbox.standin.store.definitions import Row as StoredRow

ITEM_OVERHEAD = 40  # guessed bytes of a computed item, for the size of a chunk


class Piece(NamedTuple):
    """Rows of the answer in order: places start..stop of the ordered body, or one row outside it."""

    start: int
    stop: int
    row: StoredRow | None = None


class Scan:
    """A query that is a select list over one table with a body, in an order of plain columns."""

    def __init__(self, query: Query, order: Order) -> None:
        leaf = query.source.single
        if leaf is None or leaf.table is None or leaf.version is None:
            raise ValueError("a scan wants a query over one table")
        self.query = query
        self.table = leaf.table
        self.scope = leaf.scope
        self.version = leaf.version
        self.store, self.hidden, self.outside = leaf.version.content
        self.order_columns = order
        self.order = self.store.order(order)

    @classmethod
    def of(cls, query: Query) -> Scan | None:
        """Return the scan that answers a query, None when it takes the general way."""
        leaf = query.source.single
        if leaf is None or leaf.version is None or leaf.version.content[0].count == 0:
            return None
        if query.grouped or query.select.distinct or query.unions:
            return None
        if any(not output.bound.stable for output in query.outputs):
            return None
        order = _plain_order(query)
        return None if order is None else cls(query, order)

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the answer's rows, encoded."""
        scan = self._encoded()
        for piece in self._cut(self._pieces()):
            if piece.row is None:
                yield from scan.rows(piece.start, piece.stop)
            else:
                yield from encode_rows(self.query.columns, [self._project(piece.row)])

    # --- which rows --------------------------------------------------------------------------------------------

    def _pieces(self) -> Iterator[Piece]:
        runs = self._runs()
        outside = self._outside_rows()
        if not outside:
            return iter(runs)
        return _merged(runs, [(self._place(row), row) for row in outside])

    def _runs(self) -> list[Piece]:
        """Return the matching rows of the body as runs of places in the order."""
        mask = ColumnFilter(self.store, self.query.plain, self.scope).matching(self.query.select.where)
        gone = self.version.hidden_positions() if self.hidden else None
        if mask is None and gone is None:
            return [Piece(0, self.store.count)]
        mask = np.ones(self.store.count, np.bool_) if mask is None else mask.copy()
        if gone is not None:
            mask[gone] = False
        if self.order is not None:
            mask = mask[self.order]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
        return [Piece(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]

    def _outside_rows(self) -> list[StoredRow]:
        """Return the matching rows outside the body, in order."""
        where = self.query.where
        rows = [row for row in self.outside.values() if where is None or where((self._used(row),))]
        for ordinal, descending in reversed(self.order_columns or self.store.natural):
            key = sort_key(self.table.types[ordinal])
            rows.sort(key=lambda row, key=key, ordinal=ordinal: key(row[ordinal]), reverse=descending)  # type: ignore[misc]
        return rows

    def _used(self, row: StoredRow) -> tuple[Any, ...]:
        return tuple([row[place] for place in self.scope.used])

    def _project(self, row: StoredRow) -> Row:
        wrapped = (self._used(row),)
        return tuple([output.bound.evaluate(wrapped) for output in self.query.outputs])

    def _place(self, row: StoredRow) -> int:
        """Return before which place of the ordered body a row outside it comes."""
        columns = self.order_columns or self.store.natural
        if not columns:
            return self.store.count
        keys = [(ordinal, sort_key(self.table.types[ordinal]), descending) for ordinal, descending in columns]
        wanted = _Ranked([(key(row[ordinal]), descending) for ordinal, key, descending in keys])

        def ranked(place: int) -> _Ranked:
            position = place if self.order is None else int(self.order[place])
            return _Ranked([
                (key(self.store.columns[ordinal].pick((position,))[0]), descending)
                for ordinal, key, descending in keys
            ])  # fmt: skip

        return bisect_right(range(self.store.count), wanted, key=ranked)

    def _cut(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Apply TOP, OFFSET and FETCH."""
        skip, limit = self.query.limits()
        left = limit
        for piece in pieces:
            start = min(piece.start + skip, piece.stop)
            skip -= start - piece.start
            stop = piece.stop if left is None else min(piece.stop, start + left)
            if left is not None:
                left -= max(stop - start, 0)
            if stop > start:
                yield Piece(start, stop, piece.row)
            if left == 0:
                return

    # --- their bytes -------------------------------------------------------------------------------------------

    def _encoded(self) -> EncodedScan:
        key = (tuple(self._item_key(output) for output in self.query.outputs), self.order_columns)
        with self.store.latch:
            found: EncodedScan | None = self.store.scans.get(key)
            if found is None:
                found = self._new_encoded()
                self.store.scans[key] = found
            return found

    def _item_key(self, output: Any) -> Any:
        return output.bound.column[1] if output.bound.column is not None else (output.node, output.bound.type)

    def _new_encoded(self) -> EncodedScan:
        width = 1.0
        for output in self.query.outputs:
            column = None if output.bound.column is None else self.store.columns[output.bound.column[1]]
            width += ITEM_OVERHEAD if column is None else column.byte_count / self.store.count + 1
        makers = [self._maker(output) for output in self.query.outputs]
        order = self.order

        def make(start: int, stop: int) -> RowBlock:
            positions = None if order is None else order[start:stop]
            return encode_columns([maker(start, stop, positions) for maker in makers], stop - start)

        budget = self.query.context.scan_budget()
        return EncodedScan(self.store.count, chunk_rows(width), make, budget)

    def _maker(self, output: Any) -> Callable[[int, int, Positions | None], StoredColumn]:
        """Return the function from places to the column of an item: a stored one, or computed values."""
        if output.bound.column is not None:
            column = self.store.columns[output.bound.column[1]]
            return lambda start, stop, positions: (
                part_of(column, start, stop) if positions is None else column.take(positions)
            )
        kind = output.bound.type
        read = ColumnReader(self.store, self.query.plain, self.scope).reader(output.node)
        store = text_column if kind.is_text and kind.name not in t.OLD_LARGE else stored_column
        return lambda start, stop, positions: store(kind, read(start, stop, positions))


class _Ranked:
    """Compares lists of (key, descending)."""

    def __init__(self, keys: list[tuple[Any, bool]]) -> None:
        self.keys = keys

    def __lt__(self, other: _Ranked) -> bool:
        for (mine, descending), (theirs, _) in zip(self.keys, other.keys, strict=True):
            if mine != theirs:
                return bool(theirs < mine) if descending else bool(mine < theirs)
        return False


def _merged(runs: list[Piece], rows: list[tuple[int, StoredRow]]) -> Iterator[Piece]:
    """Put rows with their places between the runs."""
    number = 0
    for run in runs:
        start = run.start
        while number < len(rows) and rows[number][0] < run.stop:
            place, row = rows[number]
            if place > start:
                yield Piece(start, place)
                start = place
            yield Piece(0, 1, row)
            number += 1
        if start < run.stop:
            yield Piece(start, run.stop)
    for _, row in rows[number:]:
        yield Piece(0, 1, row)


def _plain_order(query: Query) -> Order | None:
    """Return ORDER BY as columns of the table, None when it holds anything else. () is the body's own order."""
    order: list[tuple[int, bool]] = []
    for bound, descending in query.order:
        column = (query.outputs[bound].bound if isinstance(bound, int) else bound).column
        if column is None or not _sortable(query, column[1]):
            return None
        order.append((column[1], descending))
    return tuple(order)


def _sortable(query: Query, ordinal: int) -> bool:
    leaf = query.source.single
    if leaf is None or leaf.table is None:
        return False
    kind = leaf.table.types[ordinal]
    return kind.name not in t.USER_TYPES and kind.name not in ("xml", "sql_variant")


def part_of(column: StoredColumn, start: int, stop: int) -> StoredColumn:
    """Return rows start..stop of a column."""
    if isinstance(column, NumberColumn):
        missing = None if column.missing is None else column.missing[start:stop]
        return NumberColumn(column.type, column.array[start:stop], missing)
    assert isinstance(column, CellColumn)
    offsets = column.offsets[start : stop + 1]
    return CellColumn(column.type, column.data[offsets[0] : offsets[-1]], offsets - offsets[0])
