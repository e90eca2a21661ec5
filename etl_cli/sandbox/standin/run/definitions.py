"""CREATE, ALTER, DROP, GRANT, EXEC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin import procedures
from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.results import Result, Silent
from etl_cli.sandbox.standin.run.rows import table_of
from etl_cli.sandbox.standin.sql import alter, ast, define, functions, principals
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.leaves import LeafFactory
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.store.definitions import View

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.engine import Engine


def _create_table(engine: Engine, statement: ast.CreateTable, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, "CREATE TABLE")
    define.create_table(statement, _schema(engine, statement.name), context.transaction, context)
    yield Silent()


def _schema(engine: Engine, name: ast.Name) -> str:
    if len(name) == 3 and name[0].lower() not in ("", engine.session.database.name.lower()):
        raise not_supported("another database than the current one: " + ".".join(name))
    return (name[-2] if len(name) > 1 else "") or "dbo"


def require_administrator(engine: Engine, what: str) -> None:
    """Raise 262 for anybody but sa."""
    if not engine.session.login.administrator:
        raise SqlError(262, f"{what} permission denied in database '{engine.session.database.name}'.", severity=14)


def _create_index(engine: Engine, statement: ast.CreateIndex, context: ExecutionContext) -> Iterator[Result]:
    table = table_of(engine, statement.table, "ALTER", context)
    define.create_index(statement, table, context.transaction)
    yield Silent()


def _create_view(engine: Engine, statement: ast.CreateView, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, "CREATE VIEW")
    schema, transaction = _schema(engine, statement.name), context.transaction
    old = transaction.state.find(schema, statement.name[-1]) if statement.alter else None
    if old is None:
        define.claim_name(schema, statement.name[-1], transaction)
    query = engine.query(statement.select, context)
    columns = statement.columns or tuple(output.name for output in query.outputs)
    if not all(columns) or len(columns) != len(query.outputs):
        raise SqlError(4511, "Create View failed because no column name was specified for a column.")
    number = transaction.database.new_object_id() if old is None else old.object_id
    schema_name = transaction.state.schemas[schema.lower()][1]
    view = View(number, schema_name, statement.name[-1], columns, statement.select, statement.text)
    transaction.edit(lambda state: state.with_object(view))
    yield Silent()


def _create_schema(engine: Engine, statement: ast.CreateSchema, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, "CREATE SCHEMA")
    principals.create_schema(statement.name, context.transaction)
    yield Silent()


def _alter_table(engine: Engine, statement: ast.AlterTable, context: ExecutionContext) -> Iterator[Result]:
    table = table_of(engine, statement.name, "ALTER", context)
    alter.alter_table(statement, table, context.transaction, context)
    yield Silent()


def _drop(engine: Engine, statement: ast.Drop, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, "DROP")
    principals.drop(statement, context, lambda name: _schema(engine, name))
    yield Silent()


def _permission(engine: Engine, statement: ast.Permission, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, statement.action)
    number = 0
    if statement.name:
        number = LeafFactory(context, engine.query).resolve(statement.name, "SELECT").object_id
    principals.change_rights(statement, number, context.transaction)
    yield Silent()


def _create_principal(engine: Engine, statement: ast.CreatePrincipal, context: ExecutionContext) -> Iterator[Result]:
    require_administrator(engine, f"CREATE {statement.kind}")
    principals.create_principal(statement, engine.session.instance, context.transaction)
    yield Silent()


def _execute(engine: Engine, statement: ast.Execute, context: ExecutionContext) -> Iterator[Result]:
    binder = Binder(Scope(), context, functions.make)
    arguments = [(name, binder.scalar(node)) for name, node in statement.arguments]
    yield from procedures.execute(statement.name[-1], arguments, engine, context)


RUNNERS: dict[type, Callable[..., Iterator[Result]]] = {
    ast.CreateTable: _create_table,
    ast.CreateIndex: _create_index,
    ast.CreateView: _create_view,
    ast.CreateSchema: _create_schema,
    ast.AlterTable: _alter_table,
    ast.Drop: _drop,
    ast.Permission: _permission,
    ast.CreatePrincipal: _create_principal,
    ast.Execute: _execute,
}
