"""INFORMATION_SCHEMA: TABLES, COLUMNS, TABLE_CONSTRAINTS, KEY_COLUMN_USAGE, SCHEMATA, VIEWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.catalogue.objects import tables, view_columns, visible
from etl_cli.sandbox.standin.catalogue.registry import Values, view
from etl_cli.sandbox.standin.catalogue.types import max_length, precision_and_scale
from etl_cli.sandbox.standin.store.definitions import Table, View
from etl_cli.sandbox.standin.types import SqlType

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

UNLIMITED = {"text": 2147483647, "ntext": 1073741823, "image": 2147483647}


@view("information_schema.tables", "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, "
      "TABLE_TYPE varchar(10)")  # fmt: skip
def _tables(context: ExecutionContext) -> Iterator[Values]:
    for item in visible(context):
        yield {
            "TABLE_CATALOG": context.session.database.name, "TABLE_SCHEMA": item.schema, "TABLE_NAME": item.name,
            "TABLE_TYPE": "BASE TABLE" if isinstance(item, Table) else "VIEW",
        }  # fmt: skip


@view("information_schema.views", "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, "
      "VIEW_DEFINITION nvarchar(4000), CHECK_OPTION varchar(7) = 'NONE', IS_UPDATABLE varchar(2) = 'NO'")  # fmt: skip
def _views(context: ExecutionContext) -> Iterator[Values]:
    for item in visible(context):
        if isinstance(item, View):
            yield {
                "TABLE_CATALOG": context.session.database.name, "TABLE_SCHEMA": item.schema, "TABLE_NAME": item.name,
                "VIEW_DEFINITION": item.text if len(item.text) <= 4000 else None,
            }  # fmt: skip


@view("information_schema.schemata", "CATALOG_NAME sysname, SCHEMA_NAME sysname, SCHEMA_OWNER sysname = 'dbo', "
      "DEFAULT_CHARACTER_SET_CATALOG sysname, DEFAULT_CHARACTER_SET_SCHEMA sysname, "
      "DEFAULT_CHARACTER_SET_NAME sysname = 'iso_1'")  # fmt: skip
def _schemata(context: ExecutionContext) -> Iterator[Values]:
    names = [name for _, name in sorted(context.transaction.state.schemas.values())]
    for name in [*names, "guest", "INFORMATION_SCHEMA", "sys"]:
        yield {"CATALOG_NAME": context.session.database.name, "SCHEMA_NAME": name}


@view(
    "information_schema.columns",
    "TABLE_CATALOG sysname, TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, ORDINAL_POSITION int, "
    "COLUMN_DEFAULT nvarchar(4000), IS_NULLABLE varchar(3), DATA_TYPE sysname, CHARACTER_MAXIMUM_LENGTH int, "
    "CHARACTER_OCTET_LENGTH int, NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint, NUMERIC_SCALE int, "
    "DATETIME_PRECISION smallint, CHARACTER_SET_CATALOG sysname, CHARACTER_SET_SCHEMA sysname, "
    "CHARACTER_SET_NAME sysname, COLLATION_CATALOG sysname, COLLATION_SCHEMA sysname, COLLATION_NAME sysname, "
    "DOMAIN_CATALOG sysname, DOMAIN_SCHEMA sysname, DOMAIN_NAME sysname",
)
def _columns(context: ExecutionContext) -> Iterator[Values]:
    for item in visible(context):
        columns = item.columns if isinstance(item, Table) else view_columns(context, item)
        for place, column in enumerate(columns, 1):
            yield {
                "TABLE_CATALOG": context.session.database.name, "TABLE_SCHEMA": item.schema, "TABLE_NAME": item.name,
                "COLUMN_NAME": column.name, "ORDINAL_POSITION": place, "COLUMN_DEFAULT": column.default_text or None,
                "IS_NULLABLE": "YES" if column.nullable else "NO", "DATA_TYPE": column.type.label,
                **_lengths(column.type), **_numbers(column.type),
            }  # fmt: skip


def _lengths(kind: SqlType) -> Values:
    if not kind.is_text and not (kind.is_binary and kind.name != "rowversion"):
        return {"CHARACTER_MAXIMUM_LENGTH": -1, "CHARACTER_OCTET_LENGTH": -1} if kind.name == "xml" else {}
    octets = UNLIMITED.get(kind.name, max_length(kind))
    characters = octets // 2 if kind.is_unicode and octets > 0 and kind.name != "ntext" else octets
    values: Values = {"CHARACTER_MAXIMUM_LENGTH": characters, "CHARACTER_OCTET_LENGTH": octets}
    if kind.is_text:
        values["CHARACTER_SET_NAME"] = "UNICODE" if kind.is_unicode else "UTF-8" if kind.rules.is_utf8 else "iso_1"
        values["COLLATION_NAME"] = kind.rules.name
    return values


def _numbers(kind: SqlType) -> Values:
    precision, scale = precision_and_scale(kind)
    if kind.is_temporal:
        return {"DATETIME_PRECISION": scale}
    if not kind.is_number or kind.name == "bit":
        return {}
    if kind.is_float:
        return {"NUMERIC_PRECISION": precision, "NUMERIC_PRECISION_RADIX": 2}
    return {"NUMERIC_PRECISION": precision, "NUMERIC_PRECISION_RADIX": 10, "NUMERIC_SCALE": scale}


@view(
    "information_schema.table_constraints",
    "CONSTRAINT_CATALOG sysname, CONSTRAINT_SCHEMA sysname, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname, "
    "TABLE_SCHEMA sysname, TABLE_NAME sysname, CONSTRAINT_TYPE varchar(11), IS_DEFERRABLE varchar(2) = 'NO', "
    "INITIALLY_DEFERRED varchar(2) = 'NO'",
)
def _table_constraints(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        for index in table.indexes:
            if index.constraint is not None:
                yield {**_constraint(context, table, index.name), "CONSTRAINT_TYPE": index.constraint}


def _constraint(context: ExecutionContext, table: Table, name: str) -> Values:
    database = context.session.database.name
    return {
        "CONSTRAINT_CATALOG": database, "CONSTRAINT_SCHEMA": table.schema, "CONSTRAINT_NAME": name,
        "TABLE_CATALOG": database, "TABLE_SCHEMA": table.schema, "TABLE_NAME": table.name,
    }  # fmt: skip


@view(
    "information_schema.key_column_usage",
    "CONSTRAINT_CATALOG sysname, CONSTRAINT_SCHEMA sysname, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname, "
    "TABLE_SCHEMA sysname, TABLE_NAME sysname, COLUMN_NAME sysname, ORDINAL_POSITION int",
)
def _key_column_usage(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        for index in table.indexes:
            if index.constraint is None:
                continue
            for place, (position, _) in enumerate(index.columns, 1):
                yield {
                    **_constraint(context, table, index.name), "COLUMN_NAME": table.columns[position].name,
                    "ORDINAL_POSITION": place,
                }  # fmt: skip
