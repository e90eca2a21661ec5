"""ALTER TABLE: columns and keys come, change and go; the rows follow."""

from __future__ import annotations

from dataclasses import replace

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported, null_refused
from etl_cli.sandbox.standin.sql import ast, functions, tracking
from etl_cli.sandbox.standin.sql.binder import Binder, Context
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.define import column_of, refuse_double_names, with_key
from etl_cli.sandbox.standin.sql.modify import assignment, whole_row_scope
from etl_cli.sandbox.standin.sql.rewrite import replace_table
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.store.definitions import Column, Row, Table
from etl_cli.sandbox.standin.store.transaction import Transaction

NO_KEY_TYPES = t.OLD_LARGE | t.USER_TYPES | {"xml"}


def alter_table(statement: ast.AlterTable, table: Table, transaction: Transaction, context: Context) -> None:
    """Run ALTER TABLE."""
    if statement.action == "ADD":
        _add(statement, table, transaction, context)
    elif statement.action == "DROP COLUMN":
        _drop_columns(statement, table, transaction)
    elif statement.action == "DROP CONSTRAINT":
        _drop_constraints(statement, table, transaction)
    elif statement.action.endswith("CHANGE_TRACKING"):
        tracking.alter_table(statement, table, transaction)
    else:
        _alter_column(statement.columns[0], table, transaction)


def _add(statement: ast.AlterTable, table: Table, transaction: Transaction, context: Context) -> None:
    columns = list(table.columns)
    number = max(column.number for column in columns)
    fill: list[Bound] = []
    for definition in statement.columns:
        number += 1
        added = column_of(definition, columns, table.schema, table.name, number, context, transaction)
        if added.is_rowversion or added.identity is not None:
            raise not_supported("ALTER TABLE ADD of a rowversion or identity column")
        columns.append(added)
        fill.append(_filling(table, added, columns, transaction, context))
    wider = replace(table, columns=tuple(columns))
    refuse_double_names(wider)
    for key in statement.keys:
        wider = with_key(wider, key, transaction)

    def change(row: Row) -> Row:
        values = list(row)
        for bound in fill:
            values.append(bound.evaluate((values,)))
        return tuple(values)

    replace_table(table, wider, transaction, change if fill else None)


def _filling(table: Table, column: Column, columns: list[Column], transaction: Transaction, context: Context) -> Bound:
    """Return what rows that are there get: the default when the column is NOT NULL, else NULL (4901)."""
    binder = Binder(
        Scope([whole_row_scope(Table(0, table.schema, table.name, tuple(columns)))]), context, functions.make
    )
    if column.computed is not None:
        return converted(binder.scalar(column.computed), column.type)
    if column.nullable:
        return converted(binder.scalar(ast.Literal(column.type, None)), column.type)
    if column.default is None and transaction.version(table).count:
        raise SqlError(
            4901,
            "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition "
            f"specified. Column '{column.name}' cannot be added to non-empty table '{table.name}'.",
        )
    return converted(binder.scalar(column.default or ast.Literal(column.type, None)), column.type)


def _drop_columns(statement: ast.AlterTable, table: Table, transaction: Transaction) -> None:
    for name in statement.names:
        place = table.positions.get(name.lower())
        if place is None and statement.if_exists:
            continue
        if place is None:
            raise SqlError(
                4924, f"ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{table.name}'."
            )
        table = _without_column(table, place, transaction)


def _without_column(table: Table, place: int, transaction: Transaction) -> Table:
    column = table.columns[place]
    blocking = next((index for index in table.indexes if place in [each for each, _ in index.columns]), None)
    if blocking is not None:
        raise SqlError(
            5074,
            f"The object '{blocking.name}' is dependent on column '{column.name}'. ALTER TABLE DROP COLUMN "
            f"{column.name} failed because one or more objects access this column.",
        )
    if any(other.computed is not None for other in table.columns if other is not column):
        raise not_supported("DROP COLUMN of a table with computed columns")
    indexes = tuple(
        replace(index, columns=tuple((_moved(each, place), down) for each, down in index.columns),
                included=tuple(_moved(each, place) for each in index.included if each != place))
        for index in table.indexes
    )  # fmt: skip
    narrower = replace(table, columns=table.columns[:place] + table.columns[place + 1 :], indexes=indexes)
    replace_table(table, narrower, transaction, lambda row: row[:place] + row[place + 1 :])
    return narrower


def _moved(position: int, removed: int) -> int:
    return position - (position > removed)


def _drop_constraints(statement: ast.AlterTable, table: Table, transaction: Transaction) -> None:
    changed = table
    for name in statement.names:
        found = next((index for index in changed.indexes if index.name.lower() == name.lower()), None)
        if found is None or found.constraint is None:
            if statement.if_exists:
                continue
            raise SqlError(3728, f"'{name}' is not a constraint.")
        tracking.refuse_key_drop(found, table, transaction)
        changed = replace(changed, indexes=tuple(index for index in changed.indexes if index is not found))
    replace_table(table, changed, transaction, None)


def _alter_column(definition: ast.ColumnDefinition, table: Table, transaction: Transaction) -> None:
    place = table.positions.get(definition.name.lower())
    if place is None:
        raise SqlError(
            4924,
            f"ALTER TABLE ALTER COLUMN failed because column '{definition.name}' does not exist in table "
            f"'{table.name}'.",
        )
    old = table.columns[place]
    if definition.type is None or definition.identity or definition.default or definition.key or old.computed:
        raise not_supported("ALTER COLUMN to anything but a type")
    kind = definition.type
    if kind.is_text and not kind.collation:
        kind = kind.collated(transaction.database.collation)
    key = any(index.constraint == "PRIMARY KEY" and place in [p for p, _ in index.columns] for index in table.indexes)
    nullable = True if definition.nullable is None else definition.nullable
    if key and nullable:
        raise SqlError(5074, f"The primary key of '{table.name}' is dependent on column '{old.name}'.")
    column = replace(old, type=kind, nullable=nullable)
    convert = assignment(table, column, old.type)

    def change(row: Row) -> Row:
        value = convert(row[place])
        if value is None and not nullable:
            raise null_refused(column.name, f"{transaction.database.name}.{table.full_name}", "UPDATE")
        return (*row[:place], value, *row[place + 1 :])

    columns = (*table.columns[:place], column, *table.columns[place + 1 :])
    replace_table(table, replace(table, columns=columns), transaction, change)
