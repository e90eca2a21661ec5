"""CREATE, ALTER and DROP of tables, indexes, views and schemas, as edits of the transaction's state."""

from __future__ import annotations

from dataclasses import replace

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql import ast, functions
from etl_cli.sandbox.standin.sql.binder import Binder, Context
from etl_cli.sandbox.standin.sql.bound import converted
from etl_cli.sandbox.standin.sql.modify import table_scope
from etl_cli.sandbox.standin.sql.rewrite import replace_table
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.store.definitions import Column, Index, Table
from etl_cli.sandbox.standin.store.transaction import Transaction, refuse_temporary
from etl_cli.sandbox.standin.store.version import empty_version
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
        columns.append(column_of(definition, columns, schema, name, len(columns) + 1, context, transaction))
    keys = [definition.key for definition in statement.columns if definition.key is not None]
    table = Table(number, transaction.state.schemas[schema.lower()][1], name, tuple(columns))
    refuse_double_names(table)
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


def refuse_double_names(table: Table) -> None:
    """Raise 2705 for two columns of one name."""
    if len(table.positions) == len(table.columns):
        return
    names = [column.name.lower() for column in table.columns]
    double = next(name for name in names if names.count(name) > 1)
    raise SqlError(2705, f"Column names in each table must be unique. Column name '{double}' is used twice.")


def column_of(
    definition: ast.ColumnDefinition,
    before: list[Column],
    schema: str,
    table: str,
    number: int,
    context: Context,
    transaction: Transaction,
) -> Column:
    """Return the column of a definition; before are the columns that a computed one may use."""
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
