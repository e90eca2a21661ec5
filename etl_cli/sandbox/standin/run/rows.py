"""INSERT, UPDATE, DELETE, TRUNCATE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.errors import SqlError, invalid_column, not_supported
from etl_cli.sandbox.standin.results import Affected, Result, Silent
from etl_cli.sandbox.standin.sql import ast, functions, rewrite
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.leaves import LeafFactory
from etl_cli.sandbox.standin.sql.modify import Writer, assignment, whole_row_scope
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.sql.totals import matching_rows
from etl_cli.sandbox.standin.store.definitions import Column, Row, Table, View
from etl_cli.sandbox.standin.types import SqlValue

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.engine import Engine


def table_of(engine: Engine, name: ast.Name, right: str, context: ExecutionContext) -> Table:
    """Return the table that a statement changes; 208, 229, and 50000 for a view."""
    found = LeafFactory(context, engine.query).resolve(name, right)
    if isinstance(found, View):
        raise not_supported("changing rows through a view")
    return found


def _writer(engine: Engine, table: Table, context: ExecutionContext) -> Writer:
    return Writer(table, context.transaction, context, engine.session.database.name)


def _insert(engine: Engine, statement: ast.Insert, context: ExecutionContext) -> Iterator[Result]:
    table = table_of(engine, statement.name, "INSERT", context)
    writer = _writer(engine, table, context)
    targets = _insert_targets(engine, statement, table)
    if statement.select is not None:
        rows = _selected_rows(engine, statement.select, targets, writer, context)
    else:
        rows = _value_rows(engine, statement, targets, writer, context)
    count = writer.insert(rows)
    if writer.last_identity is not None:
        engine.session.last_identity = writer.last_identity
    yield Affected(count, "INSERT")


def _insert_targets(engine: Engine, statement: ast.Insert, table: Table) -> list[int]:
    """Return the positions that the statement gives values for."""
    explicit = engine.session.settings.identity_insert == table.object_id
    if statement.columns:
        targets = [_position(table, name) for name in statement.columns]
    elif statement.rows is None and statement.select is None:
        return []
    else:
        targets = [
            place for place, column in enumerate(table.columns)
            if not column.is_written_by_server and (column.identity is None or explicit)
        ]  # fmt: skip
    for place in targets:
        _refuse_written_by_server(table, table.columns[place])
        if table.columns[place].identity is not None and not explicit:
            raise SqlError(
                544,
                f"Cannot insert explicit value for identity column in table '{table.name}' when "
                "IDENTITY_INSERT is set to OFF.",
            )
    return targets


def _value_rows(
    engine: Engine, statement: ast.Insert, targets: list[int], writer: Writer, context: ExecutionContext
) -> Iterator[list[SqlValue]]:
    rows = statement.rows if statement.rows is not None else ((),)
    binder = Binder(Scope(), context, functions.make)
    table = writer.table
    for row in rows:
        if len(row) != len(targets):
            raise SqlError(
                110 if len(row) > len(targets) else 109,
                "There are more columns in the INSERT statement than values "
                "specified in the VALUES clause, or the other way round.",
                severity=15,
            )
        given: dict[int, Bound] = {}
        for place, node in zip(targets, row, strict=True):
            given[place] = writer.default(table.columns[place]) if node is None else binder.scalar(node)
        yield _complete(engine, given, writer)


def _complete(engine: Engine, given: dict[int, Bound], writer: Writer) -> list[SqlValue]:
    values: list[SqlValue] = []
    for place, column in enumerate(writer.table.columns):
        bound = given.get(place)
        if bound is None and column.identity is not None:
            values.append(writer.next_identity(column))
            continue
        if bound is None:
            bound = writer.default(column)
        value = None if bound.is_null else assignment(writer.table, column, bound.type)(bound.value)
        if column.identity is not None and value is not None:
            writer.keep_identity(column, value)
        values.append(value)
    return values


def _selected_rows(
    engine: Engine, select: ast.Select, targets: list[int], writer: Writer, context: ExecutionContext
) -> Iterator[list[SqlValue]]:
    query = engine.query(select, context)
    if len(query.outputs) != len(targets):
        raise SqlError(120, "The select list for the INSERT statement contains fewer items than the insert list.")
    table = writer.table
    convert = {
        place: assignment(
            table, table.columns[place], table.types[place] if output.bound.is_null else output.bound.type
        )
        for place, output in zip(targets, query.outputs, strict=True)
    }
    given = {place: number for number, place in enumerate(targets)}
    for row in list(query.rows()):
        values: list[SqlValue] = []
        for place, column in enumerate(table.columns):
            if place in given:
                values.append(convert[place](row[given[place]]))
            elif column.identity is not None:
                values.append(writer.next_identity(column))
            else:
                default = writer.default(column)
                values.append(assignment(table, column, default.type)(default.value))
        yield values


def _find_rows(
    engine: Engine, table: Table, where: ast.Expression | None, top: ast.Expression | None, context: ExecutionContext
) -> Callable[[], list[tuple[int, Row]]]:
    scope = whole_row_scope(table)
    binder = Binder(Scope([scope]), context, functions.make)
    limit = None if top is None else converted(binder.scalar(top), t.BIGINT).value

    def find() -> list[tuple[int, Row]]:
        version = context.transaction.version(table)
        return list(islice(matching_rows(version, where, binder, scope), limit))

    return find


def _update(engine: Engine, statement: ast.Update, context: ExecutionContext) -> Iterator[Result]:
    table = table_of(engine, statement.name, "UPDATE", context)
    writer = _writer(engine, table, context)
    binder = Binder(Scope([whole_row_scope(table)]), context, functions.make)
    setters: list[tuple[int, Callable[[Any], SqlValue], Callable[[SqlValue], SqlValue]]] = []
    for name, node in statement.assignments:
        place = _position(table, name)
        column = table.columns[place]
        _refuse_written_by_server(table, column)
        if column.identity is not None:
            raise SqlError(8102, f"Cannot update identity column '{column.name}'.")
        bound = writer.default(column) if node is None else binder.scalar(node)
        convert = assignment(table, column, column.type if bound.is_null else bound.type)
        setters.append((place, bound.evaluate, convert))

    def change(row: Row) -> list[SqlValue]:
        values = list(row)
        for place, evaluate, convert in setters:
            values[place] = convert(evaluate((row,)))
        return values

    rows = writer.lock_rows(_find_rows(engine, table, statement.where, statement.top, context))
    yield Affected(writer.update(rows, change, [place for place, _, _ in setters]), "UPDATE")


def _delete(engine: Engine, statement: ast.Delete, context: ExecutionContext) -> Iterator[Result]:
    table = table_of(engine, statement.name, "DELETE", context)
    writer = _writer(engine, table, context)
    rows = writer.lock_rows(_find_rows(engine, table, statement.where, statement.top, context))
    yield Affected(writer.delete(rows), "DELETE")


def _truncate(engine: Engine, statement: ast.Truncate, context: ExecutionContext) -> Iterator[Result]:
    rewrite.truncate(table_of(engine, statement.name, "ALTER", context), context.transaction)
    yield Silent()


def _position(table: Table, name: str) -> int:
    place = table.positions.get(name.lower())
    if place is None:
        raise invalid_column(name)
    return place


def _refuse_written_by_server(table: Table, column: Column) -> None:
    if column.is_rowversion:
        raise SqlError(273, "Cannot insert an explicit value into a timestamp column.")
    if column.computed is not None:
        raise SqlError(271, f'The column "{column.name}" cannot be modified because it is a computed column.')


RUNNERS: dict[type, Callable[..., Iterator[Result]]] = {
    ast.Insert: _insert,
    ast.Update: _update,
    ast.Delete: _delete,
    ast.Truncate: _truncate,
}
