"""A transaction: what it sees, what it has changed, and how far it can go back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.store.database import Database
from etl_cli.sandbox.standin.store.definitions import DatabaseObject, Row, Table
from etl_cli.sandbox.standin.store.journal import Touch
from etl_cli.sandbox.standin.store.state import State
from etl_cli.sandbox.standin.store.version import TableVersion

Edit = Callable[[State], State]
READ_COMMITTED, SNAPSHOT = "READ COMMITTED", "SNAPSHOT"
FIXED_LEVELS = frozenset({SNAPSHOT, "REPEATABLE READ", "SERIALIZABLE"})
FREED = 0  # a key that this transaction took away from its row
_MISSING = object()
_numbers = itertools.count(1)


@dataclass
class Waiting:
    """How a lock is waited for: lock_timeout_ms as SET LOCK_TIMEOUT, -1 for ever; check may raise."""

    lock_timeout_ms: int = -1
    check: Callable[[], None] = field(default=lambda: None)
    spid: int = 0


class Transaction:
    """Sees committed rows and its own changes.

    READ COMMITTED: committed before the statement began. SNAPSHOT (and, by the same means, REPEATABLE READ
    and SERIALIZABLE): committed before the transaction's first read.
    """

    def __init__(self, database: Database, isolation: str, waiting: Waiting | None = None) -> None:
        self.database = database
        self.isolation = isolation
        self.number = next(_numbers)
        self.waiting = waiting or Waiting()
        self.first_rowversion: int | None = None
        self._base: State | None = None
        self._edits: dict[int, Edit] = {}
        self._changes: dict[int, dict[int, Row | None]] = {}
        self._keys: dict[tuple[int, int], dict[tuple[Any, ...], int]] = {}
        self._replaced: dict[int, bool] = {}
        self._touches: dict[int, tuple[int, list[Touch]]] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._stamp = 0
        self._definitions: tuple[int, State, State] | None = None
        self._versions: dict[int, tuple[int, TableVersion, TableVersion]] = {}
        database.enter(self)

    # --- reading -----------------------------------------------------------------------------------------------

    def begin_statement(self) -> None:
        """Look at what is committed now, unless the level fixes the view. 3952 where SNAPSHOT is not allowed."""
        if self.isolation == SNAPSHOT and not self.database.allow_snapshot:
            name = self.database.name
            raise SqlError(
                3952,
                f"Snapshot isolation transaction failed accessing database '{name}' because snapshot isolation "
                "is not allowed in this database. Use ALTER DATABASE to allow snapshot isolation.",
            )
        if self._base is None or self.isolation not in FIXED_LEVELS:
            self._base = self.database.state

    def refresh(self) -> None:
        """After a wait for a lock: READ COMMITTED sees what the other one committed."""
        if self.isolation not in FIXED_LEVELS:
            self._base = self.database.state

    @property
    def base(self) -> State:
        """The committed state that this transaction reads."""
        if self._base is None:
            self.begin_statement()
        assert self._base is not None
        return self._base

    @property
    def state(self) -> State:
        """Definitions as this transaction sees them; for rows use version()."""
        base = self.base
        if self._definitions is None or self._definitions[:2] != (len(self._edits), base):
            state = base
            for edit in self._edits.values():
                state = edit(state)
            self._definitions = (len(self._edits), base, state)
        return self._definitions[2]

    def find(self, schema: str, name: str) -> DatabaseObject | None:
        """Return a table or a view. 3961 when it changed after the snapshot was taken."""
        found = self.state.find(schema, name)
        if found is not None and self.isolation == SNAPSHOT and not self._edits:
            now = self.database.state.objects.get(found.object_id)
            if now is not found and self.base.objects.get(found.object_id) is found:
                raise SqlError(
                    3961,
                    f"Snapshot isolation transaction failed in database '{self.database.name}' because the "
                    "object accessed by the statement has been modified by a DDL statement in another concurrent "
                    "transaction since the start of this transaction.",
                )
        return found

    def version(self, table: Table) -> TableVersion:
        """Return the rows of a table, own changes included."""
        committed = self.state.versions[table.object_id]
        changes = self._changes.get(table.object_id)
        if not changes:
            return committed
        known = self._versions.get(table.object_id)
        if known is None or known[0] != self._stamp or known[1] is not committed:
            known = (self._stamp, committed, committed.with_changes(changes))
            self._versions[table.object_id] = known
        return known[2]

    # --- changing ----------------------------------------------------------------------------------------------

    def _set(self, mapping: dict[Any, Any], key: Hashable, value: object) -> None:
        self._undo.append((mapping, key, mapping.get(key, _MISSING)))
        mapping[key] = value
        self._stamp += 1

    @property
    def mark(self) -> int:
        """The place to which roll_back_to can go back."""
        return len(self._undo)

    def roll_back_to(self, mark: int) -> None:
        """Undo all changes made since the mark; locks stay."""
        while len(self._undo) > mark:
            mapping, key, old = self._undo.pop()
            if old is _MISSING:
                del mapping[key]
            else:
                mapping[key] = old
        self._stamp += 1
        self._definitions = None

    def edit(self, edit: Edit) -> None:
        """Change definitions."""
        self._set(self._edits, len(self._edits), edit)

    def replace_rows(self, table: Table, version: TableVersion) -> None:
        """Create a table, or give it a new definition and new rows; own changes are part of these already."""
        self._set(self._replaced, table.object_id, True)
        self.edit(lambda state: state.with_object(table, version))
        self._set(self._changes, table.object_id, {})
        for key in [key for key in self._keys if key[0] == table.object_id]:
            self._set(self._keys, key, {})

    def write(self, table: Table, row_id: int, row: Row | None) -> None:
        """Insert, replace or delete (None) a row; the caller holds its locks."""
        if table.object_id not in self._changes:
            self._set(self._changes, table.object_id, {})
        self._set(self._changes[table.object_id], row_id, row)

    def tracks(self, table: Table) -> bool:
        """Whether changes of a table go into its journal: as committed now, or by this transaction."""
        return table.object_id in self.database.state.journals or table.object_id in self.state.journals

    def touch(self, table: Table, touches: list[Touch]) -> None:
        """Note changes of a tracked table for its journal."""
        self._set(self._touches, len(self._touches), (table.object_id, touches))

    def claim(self, table: Table, index: int, key: tuple[Any, ...], row_id: int) -> None:
        """Note that a key belongs to a row, or to none (FREED)."""
        if (table.object_id, index) not in self._keys:
            self._set(self._keys, (table.object_id, index), {})
        self._set(self._keys[table.object_id, index], key, row_id)

    def claimed(self, table: Table, index: int, key: tuple[Any, ...]) -> int | None:
        """Return the row that holds a key by an own change, FREED, or None when it was not touched."""
        return self._keys.get((table.object_id, index), {}).get(key)

    def replaced(self, table: Table) -> bool:
        """Whether the table's rows as a whole are this transaction's own (created, altered, truncated)."""
        return table.object_id in self._replaced

    def lock(self, resource: Hashable, *, exclusive: bool = True) -> bool:
        """Take a lock and return whether it was waited for."""
        wait = self.waiting
        return self.database.locks.acquire(
            self.number,
            resource,
            exclusive=exclusive,
            timeout_ms=wait.lock_timeout_ms,
            check=wait.check,
            spid=wait.spid,
        )

    def new_rowversion(self) -> bytes:
        """Return the next rowversion; it counts as active until the transaction ends."""
        with self.database.latch:
            number = self.database.next_rowversion()
            self.first_rowversion = self.first_rowversion or number
        return number.to_bytes(8, "big")

    # --- ending ------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make the changes visible to all."""
        touches: dict[int, list[Touch]] = {}
        for object_id, found in self._touches.values():
            touches.setdefault(object_id, []).extend(found)
        self.database.commit(list(self._edits.values()), self._changes, touches)
        for object_id in self._replaced:
            self.database.forget_keys(object_id)
        self.database.leave(self)

    def rollback(self) -> None:
        """Drop the changes."""
        self.roll_back_to(0)
        self.database.leave(self)


def refuse_temporary(name: str) -> None:
    """Raise 50000 for #name."""
    if name.startswith("#"):
        raise not_supported("temporary tables")
