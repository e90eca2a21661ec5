"""INSERT, UPDATE, DELETE: rows checked, locked and written into the transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, deadlock, duplicate_key, null_refused, overflow, truncated
from etl_cli.sandbox.standin.sql import ast, functions
from etl_cli.sandbox.standin.sql.binder import Binder, Context
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.convert import conversion, text_length
from etl_cli.sandbox.standin.sql.convert.implicit import refuse_explicit_only
from etl_cli.sandbox.standin.sql.scope import Scope, SourceColumn, SourceScope
from etl_cli.sandbox.standin.sql.tracking import RowTouches
from etl_cli.sandbox.standin.store.database import index_key
from etl_cli.sandbox.standin.store.definitions import Column, Index, Row, Table
from etl_cli.sandbox.standin.store.journal import DELETED, INSERTED, Touch
from etl_cli.sandbox.standin.store.transaction import FIXED_LEVELS, FREED, SNAPSHOT, Transaction
from etl_cli.sandbox.standin.types import SqlType, SqlValue


def table_scope(table: Table) -> SourceScope:
    """Return the source that a table is; its rows hold all columns in the table's order."""
    columns = tuple(
        SourceColumn(
            column.name, column.type, column.nullable, column.identity is not None, column.computed is not None
        )
        for column in table.columns
    )
    return SourceScope((table.schema.lower(), table.name.lower()), columns, table.full_name)


def whole_row_scope(table: Table) -> SourceScope:
    """Return the source whose rows are whole rows of the table."""
    scope = table_scope(table)
    scope.used = list(range(len(table.columns)))
    return scope


def assignment(table: Table, column: Column, source: SqlType) -> Callable[[SqlValue], SqlValue]:
    """Return the function that turns a value into the column's, as an assignment does: nothing is cut (2628)."""
    refuse_explicit_only(source, column.type)
    convert = conversion(source, column.type)
    kind = column.type
    limited = (kind.is_text or kind.name in ("binary", "varbinary")) and not kind.is_large
    if not limited or not (source.is_text or source.is_binary):
        return convert
    from_text = source.is_text and kind.is_text

    def checked(value: SqlValue) -> SqlValue:
        if value is not None and _length(kind, value) > kind.length:
            kept = value.rstrip(" ") if from_text else value.rstrip(b"\0") if isinstance(value, bytes) else value
            if _length(kind, kept) > kind.length:
                shown = value[: kind.length] if isinstance(value, str) else ""
                raise truncated(table.full_name, column.name, shown)
        return convert(value)

    return checked


def _length(kind: SqlType, value: SqlValue) -> int:
    return text_length(kind, value) if isinstance(value, str) else len(value)


class Writer:
    """Writes rows of one table in one transaction."""

    def __init__(self, table: Table, transaction: Transaction, context: Context, database: str) -> None:
        self.table = table
        self.transaction = transaction
        self.name = f"{database}.{table.full_name}"
        self.runtime = transaction.database.runtime(table.object_id)
        self.last_identity: int | None = None
        scope = Scope([whole_row_scope(table)])
        self._binder = Binder(scope, context, functions.make)
        self._computed = [
            (place, self._binder.scalar(column.computed))
            for place, column in enumerate(table.columns) if column.computed is not None
        ]  # fmt: skip
        self._keys = [(index, index_key(table, index)) for index in table.unique_indexes]
        transaction.lock(("table", table.object_id), exclusive=False)

    # --- insert ------------------------------------------------------------------------------------------------

    def default(self, column: Column) -> Bound:
        """Return a column's default, NULL without one."""
        node = column.default if column.default is not None else ast.Literal(column.type, None)
        return self._binder.scalar(node)

    def insert(self, rows: Iterable[Sequence[SqlValue]]) -> int:
        """Insert whole rows (already of the columns' types); return the count."""
        inserted: list[Row] = []
        for values in rows:
            row = self._completed(list(values), "INSERT")
            with self.transaction.database.latch:
                row_id = self.runtime.number_rows(1)
            for index, key in self._keys:
                self._claim(index, key(row), row_id)
            self.transaction.write(self.table, row_id, row)
            inserted.append(row)
        self._note_rows(INSERTED, inserted)
        return len(inserted)

    def next_identity(self, column: Column) -> int:
        """Return the next identity value; 8115 at the end of the type."""
        assert column.identity is not None
        seed, step = column.identity
        with self.transaction.database.latch:
            last = self.runtime.last_identity
            value = seed if last is None else last + step
            low, high = t.INTEGERS.get(column.type.name, (-(10**38), 10**38))
            if not low <= value <= high:
                raise overflow(f"IDENTITY to data type {column.type.name}")
            self.runtime.last_identity = value
        self.last_identity = value
        return value

    def keep_identity(self, column: Column, value: int) -> None:
        """Take an explicit identity value; later ones go on from the highest."""
        assert column.identity is not None
        with self.transaction.database.latch:
            last = self.runtime.last_identity
            if last is None or (value > last) == (column.identity[1] > 0):
                self.runtime.last_identity = value
        self.last_identity = value

    def _completed(self, values: list[SqlValue], action: str) -> Row:
        """Give rowversion and computed columns, then check NOT NULL (515)."""
        for place, column in enumerate(self.table.columns):
            if column.is_rowversion:
                values[place] = self.transaction.new_rowversion()
        for place, bound in self._computed:
            values[place] = converted(bound, self.table.columns[place].type).evaluate((values,))
        for place, column in enumerate(self.table.columns):
            if values[place] is None and not column.nullable:
                raise null_refused(column.name, self.name, action)
        return tuple(values)

    def computed_value(self, place: int, row: Row) -> SqlValue:
        """Return the value of a computed column over a whole row."""
        bound = next(bound for position, bound in self._computed if position == place)
        return converted(bound, self.table.columns[place].type).evaluate((row,))

    # --- keys --------------------------------------------------------------------------------------------------

    def _claim(self, index: Index, key: tuple[Any, ...], row_id: int) -> None:
        """Take a key for a row: wait for others who hold it, then 2627 or 2601 when it is taken."""
        table, transaction = self.table, self.transaction
        transaction.lock(("key", table.object_id, index.number, key))
        holder = transaction.claimed(table, index.number, key)
        if holder is None:
            holder = self._committed_holder(index, key)
        if holder not in (None, FREED, row_id):
            raise duplicate_key(index.constraint, index.name, table.full_name, _shown(key))
        transaction.claim(table, index.number, key, row_id)

    def _committed_holder(self, index: Index, key: tuple[Any, ...]) -> int | None:
        """Look into what is committed now, or into own rows where the table as a whole is this transaction's."""
        table, transaction = self.table, self.transaction
        if transaction.replaced(table):
            version = transaction.state.versions[table.object_id]
            return _search(table, version.numbered_rows(), index, key)
        with transaction.database.latch:
            version = transaction.database.state.versions[table.object_id]
            return self.runtime.holder(table, version, index, key)

    def _free(self, index: Index, key: tuple[Any, ...]) -> None:
        self.transaction.lock(("key", self.table.object_id, index.number, key))
        self.transaction.claim(self.table, index.number, key, FREED)

    # --- update and delete -------------------------------------------------------------------------------------

    def lock_rows(self, find: Callable[[], list[tuple[int, Row]]]) -> list[tuple[int, Row]]:
        """Find rows and lock them; look again when another transaction had to be waited for. 3960 under SNAPSHOT."""
        while True:
            found = find()
            waited = [self.transaction.lock(("row", self.table.object_id, row_id)) for row_id, _ in found]
            changed = self._changed_meanwhile([row_id for row_id, _ in found])
            if self.transaction.isolation in FIXED_LEVELS:
                if changed:
                    raise self._conflict()
            elif changed or any(waited):
                self.transaction.refresh()
                continue
            return found

    def _changed_meanwhile(self, row_ids: list[int]) -> bool:
        """Whether a row that is locked now was changed after this transaction's view was taken."""
        mine = self.transaction.base.versions.get(self.table.object_id)
        latest = self.transaction.database.state.versions.get(self.table.object_id)
        if mine is None or latest is None or mine is latest:
            return False
        return any(not mine.same_row(latest, row_id) for row_id in row_ids)

    def _conflict(self) -> SqlError:
        """Return 3960; under the locking levels, where two readers would block each other's writes, 1205."""
        if self.transaction.isolation != SNAPSHOT:
            return deadlock(self.transaction.waiting.spid)
        return SqlError(
            3960,
            "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation "
            f"to access table '{self.table.full_name}' directly or indirectly in database "
            f"'{self.transaction.database.name}' to update, delete, or insert the row that has been modified or "
            "deleted by another transaction. Retry the transaction or change the isolation level for the "
            "update/delete statement.",
            state=2,
        )

    def update(
        self, rows: list[tuple[int, Row]], change: Callable[[Row], list[SqlValue]], columns: Iterable[int] = ()
    ) -> int:
        """Replace rows; keys may move between the rows of one statement. columns: the positions that SET names."""
        changed = [(row_id, old, self._completed(change(old), "UPDATE")) for row_id, old in rows]
        for index, key in self._keys:
            moved = [(row_id, key(old), key(new)) for row_id, old, new in changed if key(old) != key(new)]
            for _, before, _ in moved:
                self._free(index, before)
            for row_id, _, after in moved:
                self._claim(index, after, row_id)
        for row_id, _, new in changed:
            self.transaction.write(self.table, row_id, new)
        journal = self._journal()
        if journal is not None:
            self._note(journal.updates([(old, new) for _, old, new in changed], columns))
        return len(changed)

    def delete(self, rows: list[tuple[int, Row]]) -> int:
        """Delete rows."""
        for row_id, old in rows:
            for index, key in self._keys:
                self._free(index, key(old))
            self.transaction.write(self.table, row_id, None)
        self._note_rows(DELETED, (row for _, row in rows))
        return len(rows)

    # --- Change Tracking ---------------------------------------------------------------------------------------

    def _note(self, touches: list[Touch]) -> None:
        if touches:
            self.transaction.touch(self.table, touches)

    def track_loaded(self, rows: Iterable[Row]) -> None:
        """Note rows that were appended as a whole."""
        self._note_rows(INSERTED, rows)

    def _note_rows(self, operation: str, rows: Iterable[Row]) -> None:
        journal = self._journal()
        if journal is not None:
            self._note([journal.touch(operation, row) for row in rows])

    def _journal(self) -> RowTouches | None:
        """Return what makes journal entries of rows, None when the table is not tracked."""
        return RowTouches(self.table) if self.transaction.tracks(self.table) else None


def _search(table: Table, rows: Iterable[tuple[int, Row]], index: Index, key: tuple[Any, ...]) -> int | None:
    make = index_key(table, index)
    return next((row_id for row_id, row in rows if make(row) == key), None)


def _shown(key: tuple[Any, ...]) -> str:
    return ", ".join("<NULL>" if part is None else part.hex() if isinstance(part, bytes) else str(part) for part in key)
