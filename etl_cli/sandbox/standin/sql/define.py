"""CREATE, ALTER and DROP of tables, indexes, views and schemas, as edits of the transaction's state."""

from __future__ import annotations

from dataclasses import replace

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, duplicate_key, not_supported, null_refused
from etl_cli.sandbox.standin.sql import ast, functions
from etl_cli.sandbox.standin.sql.binder import Binder, Context
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.modify import assignment, table_scope, whole_row_scope
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.store.column_store import empty_store
from etl_cli.sandbox.standin.store.database import index_key
from etl_cli.sandbox.standin.store.definitions import Column, Index, Row, Table
from etl_cli.sandbox.standin.store.transaction import Transaction, refuse_temporary
from etl_cli.sandbox.standin.store.version import TableVersion, empty_version
from etl_cli.sandbox.standin.types import SqlType

NO_KEY_TYPES = t.OLD_LARGE | t.USER_TYPES | {"xml"}


def create_table(statement: ast.CreateTable, schema: str, transaction: Transaction, context: Context) -> None:
    """Run CREATE TABLE; 2714 when the name is taken, 2760 for an unknown schema."""
    name = statement.name[-1]
    refuse_temporary(name)
    claim_name(schema, name, transaction)
    number = transaction.database.new_object_id()
    columns: list[Column] = []
    for definition in statement.columns:
        columns.append(_column(definition, columns, schema, name, len(columns) + 1, context, transaction))
    keys = [definition.key for definition in statement.columns if definition.key is not None]
    table = Table(number, transaction.state.schemas[schema.lower()][1], name, tuple(columns))
    _refuse_double_names(table)
    for key in (*keys, *statement.keys):
        table = with_key(table, key, transaction)
    transaction.replace_rows(table, empty_version(table))


def claim_name(schema: str, name: str, transaction: Transaction) -> None:
    """Lock a new object's name; 2760 for an unknown schema, 2714 when the name is taken."""
    if schema.lower() not in transaction.state.schemas:
        raise SqlError(
            2760, f'The specified schema name "{schema}" either does not exist or you do not have permission to use it.'
        )
    transaction.lock(("name", schema.lower(), name.lower()))
    transaction.refresh()
    if transaction.state.find(schema, name) is not None:
        raise SqlError(2714, f"There is already an object named '{name}' in the database.", state=6)


def _refuse_double_names(table: Table) -> None:
    if len(table.positions) == len(table.columns):
        return
    names = [column.name.lower() for column in table.columns]
    double = next(name for name in names if names.count(name) > 1)
    raise SqlError(2705, f"Column names in each table must be unique. Column name '{double}' is used twice.")


def _column(
    definition: ast.ColumnDefinition,
    before: list[Column],
    schema: str,
    table: str,
    number: int,
    context: Context,
    transaction: Transaction,
) -> Column:
    if definition.computed is not None:
        return _computed_column(definition, before, schema, table, number, context)
    assert definition.type is not None
    kind = collated(definition.type, transaction)
    key = definition.key is not None and definition.key.kind == "PRIMARY KEY"
    fixed = definition.identity is not None or key or kind.name == "rowversion"
    nullable = definition.nullable if definition.nullable is not None else not fixed
    if definition.default is not None:
        _check_default(definition.default, kind, context)
    return Column(
        definition.name,
        kind,
        number,
        nullable and not (key or definition.identity),
        definition.identity,
        definition.default,
        _bracketed(definition.default_text),
        rowguid=definition.rowguid,
    )


def collated(kind: SqlType, transaction: Transaction) -> SqlType:
    """Return the type with the database's collation where none is given."""
    return kind.collated(transaction.database.collation) if kind.is_text and not kind.collation else kind


def _bracketed(text: str) -> str:
    return "" if not text else text if text.startswith("(") and text.endswith(")") else f"({text})"


def _check_default(default: ast.Expression, kind: SqlType, context: Context) -> None:
    converted(Binder(Scope(), context, functions.make).scalar(default), kind)


def _computed_column(
    definition: ast.ColumnDefinition, before: list[Column], schema: str, table: str, number: int, context: Context
) -> Column:
    scope = Scope([table_scope(Table(0, schema, table, tuple(before)))])
    assert definition.computed is not None
    bound = Binder(scope, context, functions.make).scalar(definition.computed)
    if not bound.stable:
        raise not_supported(f"the computed column {definition.name}, which is not deterministic")
    nullable = bound.nullable if definition.nullable is None else definition.nullable
    return Column(
        definition.name,
        bound.type,
        number,
        nullable,
        computed=definition.computed,
        computed_text=_bracketed(definition.computed_text),
        persisted=definition.persisted,
    )


# --- keys and indexes ------------------------------------------------------------------------------------------


def with_key(table: Table, key: ast.KeyDefinition, transaction: Transaction) -> Table:
    """Return the table with a primary key or a unique constraint; its columns become NOT NULL in a primary key."""
    primary = key.kind == "PRIMARY KEY"
    if primary and any(index.constraint == "PRIMARY KEY" for index in table.indexes):
        raise SqlError(1779, f"Table '{table.name}' already has a primary key defined on it.")
    free = table.clustered is None
    clustered = (primary and free) if key.clustered is None else key.clustered
    number = transaction.database.new_object_id()
    name = key.name or f"{'PK' if primary else 'UQ'}__{table.name[:9]}__{number:016X}"
    columns = positions(table, key.columns)
    if primary:
        named = {position for position, _ in columns}
        table = replace(table, columns=tuple(
            replace(column, nullable=False) if place in named else column
            for place, column in enumerate(table.columns)
        ))  # fmt: skip
    return with_index(table, Index(name, 0, columns, True, clustered, key.kind, number))


def positions(table: Table, columns: tuple[tuple[str, bool], ...]) -> tuple[tuple[int, bool], ...]:
    """Return (position, descending) of named columns; 1911 for an unknown one, 1919 for a type that is no key."""
    found = []
    for name, descending in columns:
        place = table.positions.get(name.lower())
        if place is None:
            raise SqlError(1911, f"Column name '{name}' does not exist in the target table or view.")
        kind = table.types[place]
        if kind.is_large or kind.name in NO_KEY_TYPES:
            raise SqlError(
                1919,
                f"Column '{name}' in table '{table.full_name}' is of a type that is invalid for use as a key column "
                "in an index.",
            )
        found.append((place, descending))
    return tuple(found)


def with_index(table: Table, index: Index) -> Table:
    """Return the table with one more index; 1902 for a second clustered one, 1913 for a name that is taken."""
    if index.clustered and table.clustered is not None:
        raise SqlError(
            1902,
            f"Cannot create more than one clustered index on table '{table.full_name}'. Drop the existing "
            f"clustered index '{table.clustered.name}' before creating another.",
            state=3,
        )
    if any(other.name.lower() == index.name.lower() for other in table.indexes):
        raise SqlError(
            1913,
            f"The operation failed because an index or statistics with name '{index.name}' already exists on "
            f"table '{table.full_name}'.",
        )
    number = 1 if index.clustered else max([1, *(other.number for other in table.indexes)]) + 1
    indexes = sorted((*table.indexes, replace(index, number=number)), key=lambda item: item.number)
    return replace(table, indexes=tuple(indexes))


def create_index(statement: ast.CreateIndex, table: Table, transaction: Transaction) -> None:
    """Run CREATE INDEX; 1505 when the rows there have a key twice."""
    included = tuple(place for place, _ in positions_of(table, statement.included))
    index = Index(
        statement.name,
        0,
        positions(table, statement.columns),
        statement.unique,
        statement.clustered,
        included=included,
    )
    replace_table(table, with_index(table, index), transaction, None)


def positions_of(table: Table, names: tuple[str, ...]) -> tuple[tuple[int, bool], ...]:
    """Return positions of included columns, of any type."""
    unknown = next((name for name in names if name.lower() not in table.positions), None)
    if unknown is not None:
        raise SqlError(1911, f"Column name '{unknown}' does not exist in the target table or view.")
    return tuple((table.positions[name.lower()], False) for name in names)


# --- ALTER TABLE -----------------------------------------------------------------------------------------------


def alter_table(statement: ast.AlterTable, table: Table, transaction: Transaction, context: Context) -> None:
    """Run ALTER TABLE."""
    if statement.action == "ADD":
        _add(statement, table, transaction, context)
    elif statement.action == "DROP COLUMN":
        _drop_columns(statement, table, transaction)
    elif statement.action == "DROP CONSTRAINT":
        _drop_constraints(statement, table, transaction)
    else:
        _alter_column(statement.columns[0], table, transaction)


def _add(statement: ast.AlterTable, table: Table, transaction: Transaction, context: Context) -> None:
    columns = list(table.columns)
    number = max(column.number for column in columns)
    fill: list[Bound] = []
    for definition in statement.columns:
        number += 1
        added = _column(definition, columns, table.schema, table.name, number, context, transaction)
        if added.is_rowversion or added.identity is not None:
            raise not_supported("ALTER TABLE ADD of a rowversion or identity column")
        columns.append(added)
        fill.append(_filling(table, added, columns, transaction, context))
    wider = replace(table, columns=tuple(columns))
    _refuse_double_names(wider)
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


# --- rows of a changed table -----------------------------------------------------------------------------------


def replace_table(table: Table, changed: Table, transaction: Transaction, change: object) -> None:
    """Put a changed definition in place, with each row changed by change (None: rows as they are)."""
    transaction.lock(("table", table.object_id))
    transaction.refresh()
    version = transaction.version(table)
    rows = version.numbered_rows()
    if callable(change):
        rows = ((row_id, change(row)) for row_id, row in rows)
    elif changed.clustered == table.clustered:
        _check_unique(table, changed, version)
        transaction.replace_rows(changed, version)
        return
    replaced = TableVersion(empty_store(changed), frozenset(), dict(rows))
    _check_unique(table, changed, replaced)
    transaction.replace_rows(changed, replaced)


def _check_unique(table: Table, changed: Table, version: TableVersion) -> None:
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
    transaction.database.runtime(table.object_id).last_identity = None
