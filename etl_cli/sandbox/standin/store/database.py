"""A database: its current state, and what is not versioned: locks, counters, options."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin.bulk.replay import ScanBudget
from etl_cli.sandbox.standin.collations import DEFAULT
from etl_cli.sandbox.standin.sql.compare import Key, key_function
from etl_cli.sandbox.standin.store.definitions import Index, Row, Table
from etl_cli.sandbox.standin.store.journal import Touch, TrackingOptions
from etl_cli.sandbox.standin.store.locks import LockManager
from etl_cli.sandbox.standin.store.state import State
from etl_cli.sandbox.standin.store.version import Changes, TableVersion

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.store.transaction import Transaction

DEFAULT_CACHE_BYTES = 1 << 30
FIRST_OBJECT_ID = 1_000_000_001
FIRST_ROWVERSION = 2000  # a new database of SQL Server starts there too


def index_key(table: Table, index: Index) -> Key:
    """Return the function from a row to the key by which a unique index tells rows apart."""
    parts = [(position, key_function(table.types[position])) for position, _ in index.columns]

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(
            row[position] if function is None or row[position] is None else function(row[position])
            for position, function in parts
        )

    return key


class TableRuntime:
    """What a table counts, whichever transaction asks: row numbers, identity; and where committed keys are."""

    def __init__(self) -> None:
        self.next_row_id = 1
        self.last_identity: int | None = None
        self.keys: dict[int, dict[tuple[Any, ...], int]] | None = None

    def number_rows(self, count: int) -> int:
        """Return the first of count new row numbers."""
        first = self.next_row_id
        self.next_row_id += count
        return first

    def holder(self, table: Table, version: TableVersion, index: Index, key: tuple[Any, ...]) -> int | None:
        """Return the number of the committed row with this key."""
        if self.keys is None:
            self._collect(table, version)
        assert self.keys is not None
        found = self.keys.setdefault(index.number, {}).get(key)
        if found is not None:
            return found
        store, hidden, _ = version.content
        place = store.find(index, key) if store.count else None
        number = None if place is None else store.row_id(place)
        return None if number in hidden else number

    def _collect(self, table: Table, version: TableVersion) -> None:
        self.keys = {}
        rows = version.content[2]
        for index in table.unique_indexes:
            key = index_key(table, index)
            self.keys[index.number] = {key(row): number for number, row in rows.items()}

    def committed(self, table: Table, before: TableVersion, changes: Changes) -> None:
        """Take over the keys of committed changes."""
        if self.keys is None:
            return
        for index in table.unique_indexes:
            key = index_key(table, index)
            known = self.keys.setdefault(index.number, {})
            for number in changes:
                old = before.row(number)
                if old is not None and known.get(key(old)) == number:
                    del known[key(old)]
            known.update({key(row): number for number, row in changes.items() if row is not None})


class Database:
    """One database of the server."""

    def __init__(self, name: str, number: int, *, allow_snapshot: bool = True) -> None:
        self.name = name
        self.number = number
        self.allow_snapshot = allow_snapshot
        self.read_committed_snapshot = False
        self.change_tracking: TrackingOptions | None = None
        self.collation = DEFAULT
        self.state = State()
        self.latch = threading.RLock()
        self.locks = LockManager()
        self.scans = ScanBudget(DEFAULT_CACHE_BYTES)
        self._runtimes: dict[int, TableRuntime] = {}
        self._object_ids = itertools.count(FIRST_OBJECT_ID, 16_000_057)
        self._transactions: set[Transaction] = set()
        self._last_rowversion = FIRST_ROWVERSION

    def new_object_id(self) -> int:
        """Return a number that no object has had, in the range of SQL Server's int."""
        with self.latch:
            return next(self._object_ids) % (2**31 - 1)

    def runtime(self, object_id: int) -> TableRuntime:
        """Return the counters of a table."""
        with self.latch:
            return self._runtimes.setdefault(object_id, TableRuntime())

    def next_rowversion(self) -> int:
        """Return the next value of the database-wide counter."""
        with self.latch:
            self._last_rowversion += 1
            return self._last_rowversion

    @property
    def last_rowversion(self) -> int:
        """The value of @@DBTS."""
        return self._last_rowversion

    def lowest_active_rowversion(self) -> int:
        """Return MIN_ACTIVE_ROWVERSION(): the lowest of an open transaction, else the next one."""
        with self.latch:
            open_ones = [found.first_rowversion for found in self._transactions if found.first_rowversion]
            return min(open_ones, default=self._last_rowversion + 1)

    def enter(self, transaction: Transaction) -> None:
        """Count a transaction as open."""
        with self.latch:
            self._transactions.add(transaction)

    def leave(self, transaction: Transaction) -> None:
        """Forget a transaction that has ended, and give back its locks."""
        with self.latch:
            self._transactions.discard(transaction)
        self.locks.release_all(transaction.number)

    @property
    def open_transactions(self) -> int:
        """The number of transactions that have not ended."""
        return len(self._transactions)

    def commit(
        self, edits: Sequence[Any], changes: Mapping[int, Changes], touches: Mapping[int, list[Touch]] | None = None
    ) -> None:
        """Make the next state: definitions first, then rows, and the journals of tracked tables."""
        with self.latch:
            state = self.state
            for edit in edits:
                state = edit(state)
            versions = {}
            for object_id, changed in changes.items():
                table = state.objects.get(object_id)
                if changed and isinstance(table, Table):
                    before = state.versions[object_id]
                    versions[object_id] = before.with_changes(changed)
                    self.runtime(object_id).committed(table, before, changed)
            self.state = state.with_versions(versions).with_touches(touches or {})

    def expire_changes(self, object_id: int) -> int:
        """Clean a table's journal up to now, as if its retention had passed; return its lowest valid version."""
        with self.latch:
            journal = self.state.journals[object_id].expired(self.state.change_version)
            self.state = self.state.with_journal(object_id, journal)
        return journal.min_valid_version

    def forget_keys(self, object_id: int) -> None:
        """Collect a table's keys anew at the next need, after its rows were replaced as a whole."""
        self.runtime(object_id).keys = None
