"""SET, DECLARE, transactions, USE, databases, messages: statements that run outside a transaction of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin import settings
from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.results import Result, Silent
from etl_cli.sandbox.standin.run.definitions import require_administrator
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.wire import tokens

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.engine import Engine, Variables


def _set(engine: Engine, statement: ast.Set, variables: Variables) -> Iterator[Result]:
    settings.apply(statement, engine.session, engine)
    yield Silent()


def _declare(engine: Engine, statement: ast.Declare, variables: Variables) -> Iterator[Result]:
    kind = statement.type
    value = None if statement.value is None else engine.evaluate(statement.value, variables, kind).value
    variables[statement.name] = (kind, value)
    yield Silent()


def _set_variable(engine: Engine, statement: ast.SetVariable, variables: Variables) -> Iterator[Result]:
    if statement.name not in variables:
        raise SqlError(137, f'Must declare the scalar variable "{statement.name}".', severity=15)
    kind = variables[statement.name][0]
    variables[statement.name] = (kind, engine.evaluate(statement.value, variables, kind).value)
    yield Silent()


def _transaction(engine: Engine, statement: ast.Transaction, variables: Variables) -> Iterator[Result]:
    session = engine.session
    if statement.action == "BEGIN":
        session.begin()
    elif statement.action == "COMMIT":
        session.commit()
    elif statement.action == "ROLLBACK":
        session.rollback(statement.name)
    else:
        session.save(statement.name)
    yield Silent()


def _wait(engine: Engine, statement: ast.WaitFor, variables: Variables) -> Iterator[Result]:
    ticks = engine.evaluate(statement.delay, variables, t.time(7)).value
    engine.session.instance.sleep((ticks or 0) / 10_000_000, engine.session.check)
    yield Silent()


def _use(engine: Engine, statement: ast.Use, variables: Variables) -> Iterator[Result]:
    session = engine.session
    found = session.instance.database(statement.database)
    if session.transaction is not None and found is not session.database:
        raise not_supported("USE inside a transaction")
    old, session.database = session.database, found
    text = f"Changed database context to '{found.name}'."
    yield Silent(
        tokens.environment(tokens.ENV_DATABASE, found.name, old.name)
        + tokens.message(SqlError(5701, text, severity=10, state=2))
    )


def _create_database(engine: Engine, statement: ast.CreateDatabase, variables: Variables) -> Iterator[Result]:
    require_administrator(engine, "CREATE DATABASE")
    engine.session.instance.create_database(statement.name)
    yield Silent()


def _alter_database(engine: Engine, statement: ast.AlterDatabase, variables: Variables) -> Iterator[Result]:
    require_administrator(engine, "ALTER DATABASE")
    settings.alter_database(statement, engine.session)
    yield Silent()


def _print(engine: Engine, statement: ast.Print, variables: Variables) -> Iterator[Result]:
    text = engine.evaluate(statement.value, variables, t.nvarchar(4000)).value
    yield Silent(tokens.message(SqlError(0, text or "", severity=0)))


def _raise(engine: Engine, statement: ast.RaiseError, variables: Variables) -> Iterator[Result]:
    text = engine.evaluate(statement.message, variables, t.nvarchar(2047)).value
    severity, state = (engine.evaluate(node, variables, t.INT).value for node in (statement.severity, statement.state))
    error = SqlError(statement.number, text, severity=severity, state=state)
    if severity > 10:
        raise error
    yield Silent(tokens.message(error))


RUNNERS: dict[type, Callable[..., Iterator[Result]]] = {
    ast.Set: _set,
    ast.Declare: _declare,
    ast.SetVariable: _set_variable,
    ast.Transaction: _transaction,
    ast.WaitFor: _wait,
    ast.Use: _use,
    ast.CreateDatabase: _create_database,
    ast.AlterDatabase: _alter_database,
    ast.Print: _print,
    ast.RaiseError: _raise,
}
