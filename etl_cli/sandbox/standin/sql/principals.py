"""Schemas, logins, users, rights, and DROP of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.instance import Instance
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.rewrite import replace_table
from etl_cli.sandbox.standin.store.definitions import Table, View
from etl_cli.sandbox.standin.store.transaction import Transaction

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

FIRST_SCHEMA_ID = 5


def create_schema(name: str, transaction: Transaction) -> None:
    """Run CREATE SCHEMA; 2714 when it is there."""
    if name.lower() in transaction.state.schemas or name.lower() in ("sys", "information_schema"):
        raise SqlError(2714, f"There is already an object named '{name}' in the database.", state=6)
    number = max([FIRST_SCHEMA_ID - 1, *(key for key, _ in transaction.state.schemas.values())]) + 1
    transaction.edit(lambda state: replace(state, schemas={**state.schemas, name.lower(): (number, name)}))


def create_principal(statement: ast.CreatePrincipal, instance: Instance, transaction: Transaction) -> None:
    """Run CREATE LOGIN (at once, whatever becomes of the transaction) or CREATE USER."""
    if statement.kind == "LOGIN":
        instance.create_login(statement.name, statement.password)
        return
    name = statement.name.lower()
    if name in transaction.state.users:
        raise SqlError(15023, f"User, group, or role '{statement.name}' already exists in the current database.")
    transaction.edit(lambda state: replace(state, users=state.users | {name}))


def change_rights(statement: ast.Permission, number: int, transaction: Transaction) -> None:
    """Run GRANT, DENY or REVOKE; number 0 is the whole database."""
    keys = frozenset((name.lower(), number, right) for name in statement.principals for right in statement.rights)
    unknown = {name.lower() for name in statement.principals} - transaction.state.users - {"public"}
    if unknown:
        raise SqlError(15151, f"Cannot find the user '{unknown.pop()}', because it does not exist.")
    granted, denied = statement.action == "GRANT", statement.action == "DENY"
    transaction.edit(
        lambda state: replace(
            state,
            granted=state.granted | keys if granted else state.granted - keys,
            denied=state.denied | keys if denied else state.denied - keys,
        )
    )


def drop(statement: ast.Drop, context: ExecutionContext, schema_of: Callable[[ast.Name], str]) -> None:
    """Run DROP."""
    transaction = context.transaction
    for name in statement.names:
        if statement.kind == "LOGIN":
            context.session.instance.drop_login(name[-1])
        elif statement.kind == "USER":
            _drop_user(name[-1].lower(), transaction)
        elif statement.kind == "SCHEMA":
            _drop_schema(name[-1], transaction, if_exists=statement.if_exists)
        elif statement.kind == "INDEX":
            _drop_index(name[-1], statement, schema_of(statement.table), transaction)
        else:
            _drop_object(name, schema_of(name), statement, transaction)


def _drop_user(name: str, transaction: Transaction) -> None:
    transaction.edit(lambda state: replace(state, users=state.users - {name}))


def _drop_schema(name: str, transaction: Transaction, *, if_exists: bool) -> None:
    if name.lower() not in transaction.state.schemas:
        if if_exists:
            return
        raise SqlError(15151, f"Cannot drop the schema '{name}', because it does not exist.")
    used = next((key[1] for key in transaction.state.names if key[0] == name.lower()), None)
    if used is not None:
        raise SqlError(3729, f"Cannot drop schema '{name}' because it is being referenced by object '{used}'.")
    transaction.edit(
        lambda state: replace(state, schemas={key: v for key, v in state.schemas.items() if key != name.lower()})
    )


def _drop_object(name: ast.Name, schema: str, statement: ast.Drop, transaction: Transaction) -> None:
    found = transaction.find(schema, name[-1])
    wanted = Table if statement.kind == "TABLE" else View
    if not isinstance(found, wanted):
        if statement.if_exists and found is None:
            return
        raise SqlError(
            3701,
            f"Cannot drop the {statement.kind.lower()} '{'.'.join(name)}', because it does not exist or you do "
            "not have permission.",
            severity=11,
            state=5,
        )
    transaction.lock(("table", found.object_id))
    transaction.edit(lambda state: state.without_object(found))


def _drop_index(name: str, statement: ast.Drop, schema: str, transaction: Transaction) -> None:
    table = transaction.find(schema, statement.table[-1])
    if not isinstance(table, Table):
        raise not_supported("DROP INDEX of something that is no table")
    index = next((item for item in table.indexes if item.name.lower() == name.lower()), None)
    if index is None:
        if statement.if_exists:
            return
        raise SqlError(
            3701, f"Cannot drop the index '{table.full_name}.{name}', because it does not exist.", severity=11
        )
    if index.constraint is not None:
        raise SqlError(
            3723,
            f"An explicit DROP INDEX is not allowed on index '{table.full_name}.{name}'. It is being used for "
            f"{index.constraint} constraint enforcement.",
        )
    kept = tuple(item for item in table.indexes if item is not index)
    replace_table(table, replace(table, indexes=kept), transaction, None)
