"""One version of a table's rows: a body that never changes, and what was changed since."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import numpy as np

from etl_cli.sandbox.standin.store.column_store import ColumnStore, empty_store, store_of_rows
from etl_cli.sandbox.standin.store.definitions import Row, Table

Changes = Mapping[int, Row | None]  # row number -> new row, None when deleted
COMPACT_ABOVE = 2000  # changed rows from which folding them into the body pays


class TableVersion:
    """Immutable to its readers: folding changes into the body changes no answer.

    hidden: numbers of body rows that are deleted or replaced; rows: number -> row outside the body.
    """

    def __init__(self, store: ColumnStore, hidden: frozenset[int] = frozenset(), rows: Mapping[int, Row] | None = None):
        self._content = (store, hidden, rows or {})
        self._latch = threading.Lock()

    @property
    def content(self) -> tuple[ColumnStore, frozenset[int], Mapping[int, Row]]:
        """Body, hidden and rows of one moment; read them together."""
        return self._content

    @property
    def count(self) -> int:
        """The number of rows."""
        store, hidden, rows = self._content
        return store.count - len(hidden) + len(rows)

    def row(self, row_id: int) -> Row | None:
        """Return the row of this number, None when it is not here."""
        store, hidden, rows = self._content
        found = rows.get(row_id)
        if found is not None or row_id in hidden:
            return found
        position = store.position(row_id)
        return None if position is None else store.row(position)

    def same_row(self, other: TableVersion, row_id: int) -> bool:
        """Whether both versions hold the same edition of a row."""
        mine, theirs = self._content, other._content
        if mine[0] is theirs[0] and row_id not in mine[2] and row_id not in theirs[2]:
            return (row_id in mine[1]) == (row_id in theirs[1])
        return self.row(row_id) == other.row(row_id)

    def with_changes(self, changes: Changes) -> TableVersion:
        """Return the version after these changes."""
        if not changes:
            return self
        store, hidden, rows = self._content
        kept = dict(rows)
        gone = set(hidden)
        for row_id, row in changes.items():
            if store.count and store.position(row_id) is not None:
                gone.add(row_id)
            if row is None:
                kept.pop(row_id, None)
            else:
                kept[row_id] = row
        return TableVersion(store, frozenset(gone), kept)

    def numbered_rows(self) -> Iterator[tuple[int, Row]]:
        """Yield (row number, row), body first, in no promised order."""
        store, hidden, rows = self._content
        if store.count:
            for position, row in enumerate(store.rows(range(len(store.columns)))):
                row_id = store.row_id(position)
                if row_id not in hidden:
                    yield row_id, row
        yield from rows.items()

    def compact(self, table: Table) -> None:
        """Fold the changes into the body when they are many; row numbers stay."""
        _, hidden, rows = self._content
        if len(hidden) + len(rows) <= max(COMPACT_ABOVE, self._content[0].count // 4):
            return
        with self._latch:
            if self._content[2] is rows:
                self._content = (store_of_rows(table, list(self.numbered_rows())), frozenset(), {})

    def hidden_positions(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Return the positions of the body's rows that no longer count."""
        store, hidden, _ = self._content
        found = (store.position(row_id) for row_id in hidden)
        return np.array([place for place in found if place is not None], np.intp)


def empty_version(table: Table) -> TableVersion:
    """Return the version of a new table."""
    return TableVersion(empty_store(table))
