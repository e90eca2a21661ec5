"""Putting a changed table in place, its rows with it."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, duplicate_key
from etl_cli.sandbox.standin.store.column_store import empty_store
from etl_cli.sandbox.standin.store.database import index_key
from etl_cli.sandbox.standin.store.definitions import Table
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.store.version import TableVersion, empty_version

NO_KEY_TYPES = t.OLD_LARGE | t.USER_TYPES | {"xml"}


def replace_table(table: Table, changed: Table, transaction: Transaction, change: object) -> None:
    """Put a changed definition in place, with each row changed by change (None: rows as they are)."""
    transaction.lock(("table", table.object_id))
    transaction.refresh()
    version = transaction.version(table)
    rows = version.numbered_rows()
    if callable(change):
        rows = ((row_id, change(row)) for row_id, row in rows)
    elif changed.clustered == table.clustered:
        _refuse_doubles(table, changed, version)
        transaction.replace_rows(changed, version)
        return
    replaced = TableVersion(empty_store(changed), frozenset(), dict(rows))
    _refuse_doubles(table, changed, replaced)
    transaction.replace_rows(changed, replaced)


def _refuse_doubles(table: Table, changed: Table, version: TableVersion) -> None:
    """Raise 1505 where a new unique index meets a key twice."""
    known = {index.name for index in table.unique_indexes}
    for index in changed.unique_indexes:
        if index.name in known:
            continue
        key = index_key(changed, index)
        seen = set()
        for _, row in version.numbered_rows():
            found = key(row)
            if found in seen:
                error = duplicate_key(None, index.name, table.full_name, str(found))
                raise SqlError(1505, error.message.replace("Cannot insert", "CREATE UNIQUE INDEX terminated:"))
            seen.add(found)


def truncate(table: Table, transaction: Transaction) -> None:
    """Run TRUNCATE TABLE: all rows go, identity starts anew."""
    transaction.lock(("table", table.object_id))
    transaction.replace_rows(table, empty_version(table))
    transaction.edit(lambda state: state.with_journal_begun_anew(table.object_id))
    transaction.database.runtime(table.object_id).last_identity = None
