"""Change Tracking: ALTER DATABASE and ALTER TABLE, the rows of CHANGETABLE, and journal entries of written rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.scope import SourceColumn
from etl_cli.sandbox.standin.store.database import Database, index_key
from etl_cli.sandbox.standin.store.definitions import Index, Row, Table
from etl_cli.sandbox.standin.store.journal import (
    DELETED,
    INSERTED,
    UPDATED,
    Journal,
    NetChange,
    Touch,
    TrackingOptions,
)
from etl_cli.sandbox.standin.store.state import State
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.types import SqlType

SYSTEM_DATABASES = frozenset({"master", "tempdb", "model", "msdb"})
MINUTES = {"MINUTES": 1, "HOURS": 60, "DAYS": 1440}
CHANGE_COLUMNS = (
    SourceColumn("SYS_CHANGE_VERSION", t.BIGINT), SourceColumn("SYS_CHANGE_CREATION_VERSION", t.BIGINT),
    SourceColumn("SYS_CHANGE_OPERATION", SqlType("nchar", 1)), SourceColumn("SYS_CHANGE_COLUMNS", t.varbinary(4100)),
    SourceColumn("SYS_CHANGE_CONTEXT", t.varbinary(128)),
)  # fmt: skip


# --- ALTER DATABASE ------------------------------------------------------------------------------------------------


def alter_database(statement: ast.AlterDatabase, database: Database) -> None:
    """Run ALTER DATABASE ... SET CHANGE_TRACKING: 5088, 5089, 5090, 5091, 5092, 22115, 155 as SQL Server."""
    if database.name.lower() in SYSTEM_DATABASES:
        raise SqlError(
            5090,
            f"Database '{database.name}' is a system database. Change tracking settings cannot be modified for "
            "system databases.",
        )
    if statement.value == "OFF":
        _switch_off(database)
        return
    if statement.value == "ON" and database.change_tracking is not None:
        raise SqlError(5088, f"Change tracking is already enabled for database '{database.name}'.")
    if statement.value != "ON" and database.change_tracking is None:
        raise _database_disabled(database, state=2)
    database.change_tracking = _options(statement, database.change_tracking or TrackingOptions())


def _switch_off(database: Database) -> None:
    if database.change_tracking is None:
        raise _database_disabled(database, state=1)
    if database.state.journals:
        raise SqlError(
            22115,
            f"Change tracking is enabled for one or more tables in database '{database.name}'. Disable change tracking "
            "on each table before disabling it for the database. Use the sys.change_tracking_tables catalog view to "
            "obtain a list of tables for which change tracking is enabled.",
        )
    database.change_tracking = None


def _database_disabled(database: Database, *, state: int) -> SqlError:
    return SqlError(
        5089,
        f"Change tracking is disabled for database '{database.name}'. Change tracking must be enabled on a database to "
        "modify change tracking settings.",
        state=state,
    )


def _options(statement: ast.AlterDatabase, options: TrackingOptions) -> TrackingOptions:
    names = [name for name, _ in statement.options]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise SqlError(
            5091,
            f"ALTER DATABASE change tracking option '{double}' was specified more than once. Each option can be "
            "specified only once.",
            severity=15,
        )
    for name, words in statement.options:
        if name == "AUTO_CLEANUP":
            options = replace(options, auto_cleanup=words[0] == "ON")
        else:
            options = replace(options, retention=_retention(*words), unit=words[1])
    return options


def _retention(number: str, unit: str) -> int:
    if unit not in MINUTES:
        raise SqlError(155, f"'{unit}' is not a recognized CHANGE RETENTION UNIT option.", severity=15, state=2)
    if not 1 <= int(number) * MINUTES[unit] <= 2**31 - 1:
        raise SqlError(
            5092,
            "The value for change tracking option 'CHANGE_RETENTION' is not valid. The value must be between 1 and "
            "2147483647 minutes.",
            severity=15,
        )
    return int(number)


# --- ALTER TABLE ---------------------------------------------------------------------------------------------------


def alter_table(statement: ast.AlterTable, table: Table, transaction: Transaction) -> None:
    """Run ALTER TABLE ... ENABLE or DISABLE CHANGE_TRACKING: 1718, 4996, 4997, 4998, 4999 as SQL Server."""
    transaction.lock(("table", table.object_id))
    transaction.refresh()
    number = table.object_id
    tracked = number in transaction.state.journals
    if statement.action.startswith("DISABLE"):
        if not tracked:
            raise SqlError(4998, f"Change tracking is not enabled on table '{table.name}'.")
        transaction.edit(lambda state: state.with_journal(number, None))
        return
    _refuse_tracking(table, transaction.database, tracked=tracked)
    columns = statement.names[0] == "ON"
    transaction.edit(lambda state: state.with_new_journal(number, tracks_columns=columns))


def _refuse_tracking(table: Table, database: Database, *, tracked: bool) -> None:
    """Raise the error of a table that cannot be tracked."""
    if database.change_tracking is None:
        raise SqlError(
            1718,
            f"Change tracking must be enabled on database '{database.name}' before it can be enabled on table "
            f"'{table.name}'.",
        )
    if tracked:
        raise SqlError(4996, f"Change tracking is already enabled for table '{table.name}'.")
    key = table.primary_key
    refused = f"Cannot enable change tracking on table '{table.name}'. Change tracking "
    if key is None:
        raise SqlError(
            4997,
            refused + "requires a primary key on the table. Create a primary key on the table before enabling change "
            "tracking.",
        )
    if any(table.columns[place].is_rowversion for place, _ in key.columns):
        raise SqlError(4999, refused + "does not support a primary key of type timestamp on a table.")


def refuse_key_drop(index: Index, table: Table, transaction: Transaction) -> None:
    """Raise 3735 for the primary key of a tracked table."""
    if index.constraint == "PRIMARY KEY" and transaction.tracks(table):
        raise SqlError(
            3735,
            f"The primary key constraint '{index.name}' on table '{table.name}' cannot be dropped because change "
            "tracking is enabled on the table. Change tracking requires a primary key constraint on the table. Disable "
            "change tracking before dropping the constraint.",
        )


# --- CHANGETABLE ---------------------------------------------------------------------------------------------------


def not_a_table(name: str) -> SqlError:
    """Return 22107."""
    return SqlError(
        22107,
        f"Object '{name}' is of a data type that is not supported by the CHANGETABLE function. The object must be a "
        "user-defined table.",
    )


def journal_of(table: Table, database: Database, state: State) -> Journal:
    """Return a table's journal; 22105 when it has none, as with every table of a database that is not tracked."""
    journal = state.journals.get(table.object_id)
    if journal is None or database.change_tracking is None:
        raise SqlError(22105, f"Change tracking is not enabled on table '{table.name}'.")
    return journal


def change_columns(table: Table, names: tuple[str, ...], alias: str) -> tuple[SourceColumn, ...]:
    """Return the columns of CHANGETABLE: what is said of the change, then the primary key's; names replace theirs."""
    assert table.primary_key is not None
    key = [table.columns[place] for place, _ in table.primary_key.columns]
    columns = (*CHANGE_COLUMNS, *(SourceColumn(column.name, column.type, False) for column in key))
    if not names:
        return columns
    if len(names) != len(columns):
        raise SqlError(8158, f"'{alias}' has another number of columns than were specified in the column list.")
    return tuple(replace(column, name=name) for name, column in zip(names, columns, strict=True))


def change_rows(changes: Iterable[NetChange]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of CHANGETABLE."""
    for version, created, operation, columns, values in changes:
        yield (version, created, operation, columns, None, *values)


# --- rows that are written -----------------------------------------------------------------------------------------


class RowTouches:
    """Makes journal entries of a tracked table's rows."""

    def __init__(self, table: Table) -> None:
        assert table.primary_key is not None
        self._table = table
        self._places = [place for place, _ in table.primary_key.columns]
        self._key = index_key(table, table.primary_key)

    def touch(self, operation: str, row: Row, columns: frozenset[int] | None = None) -> Touch:
        """Return the entry of one row."""
        return Touch(operation, self._key(row), tuple(row[place] for place in self._places), columns)

    def updates(self, pairs: Iterable[tuple[Row, Row]], places: Iterable[int]) -> list[Touch]:
        """Return the entries of an UPDATE: a key that changes is a deletion and an insertion, deletions first."""
        columns = self._numbers(places)
        deleted: list[Touch] = []
        written: list[Touch] = []
        for old, new in pairs:
            if self._key(old) == self._key(new):
                written.append(self.touch(UPDATED, new, columns))
            else:
                deleted.append(self.touch(DELETED, old))
                written.append(self.touch(INSERTED, new))
        return deleted + written

    def _numbers(self, places: Iterable[int]) -> frozenset[int] | None:
        """Return the numbers of the columns that were set, None for all beside the key."""
        numbers = frozenset(self._table.columns[place].number for place in places)
        others = {
            column.number for place, column in enumerate(self._table.columns)
            if place not in self._places and column.computed is None and not column.is_rowversion
        }  # fmt: skip
        return None if others <= numbers else numbers
