"""sys.objects and what hangs on it: schemas, tables, views, columns, constraints, properties."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.catalogue.registry import Values, empty, view
from etl_cli.sandbox.standin.catalogue.types import type_values
from etl_cli.sandbox.standin.sql import temporal
from etl_cli.sandbox.standin.store.definitions import Column, DatabaseObject, Table, View
from etl_cli.sandbox.standin.store.state import PROPERTY_OF_OBJECT

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "CONTROL", "ALTER", "REFERENCES", "VIEW DEFINITION")
CONSTRAINTS = {"PRIMARY KEY": ("PK", "PRIMARY_KEY_CONSTRAINT"), "UNIQUE": ("UQ", "UNIQUE_CONSTRAINT")}
OBJECT = (
    "name sysname, object_id int, principal_id int, schema_id int, parent_object_id int = 0, type char(2), "
    "type_desc nvarchar(60), create_date datetime, modify_date datetime, is_ms_shipped bit = 0, is_published bit = 0, "
    "is_schema_published bit = 0"
)


def visible(context: ExecutionContext) -> list[DatabaseObject]:
    """Return the objects on which the login has any right: the catalogue hides the others."""
    return [
        item
        for _, item in sorted(context.transaction.state.objects.items())
        if any(context.allowed(item.object_id, right) for right in RIGHTS)
    ]


def tables(context: ExecutionContext) -> list[Table]:
    """Return the visible tables."""
    return [item for item in visible(context) if isinstance(item, Table)]


def schema_id(context: ExecutionContext, item: DatabaseObject) -> int:
    """Return an object's schema_id."""
    return context.transaction.state.schemas[item.schema.lower()][0]


def as_datetime(moment: datetime.datetime) -> int:
    """Return a moment as the value of a datetime column."""
    days = moment.toordinal() - 1 - temporal.DAYS_TO_1900
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return (days * 86_400 + seconds) * 300 + moment.microsecond * 300 // 1_000_000


def object_values(context: ExecutionContext, item: DatabaseObject) -> Values:
    """Return the columns of sys.objects for a table or a view."""
    created = as_datetime(item.created)
    kind, text = ("U ", "USER_TABLE") if isinstance(item, Table) else ("V ", "VIEW")
    return {
        "name": item.name, "object_id": item.object_id, "schema_id": schema_id(context, item), "type": kind,
        "type_desc": text, "create_date": created, "modify_date": created,
    }  # fmt: skip


def constraint_values(context: ExecutionContext, table: Table) -> Iterator[Values]:
    """Yield sys.key_constraints of a table."""
    created = as_datetime(table.created)
    for index in table.indexes:
        if index.constraint is not None:
            kind, text = CONSTRAINTS[index.constraint]
            yield {
                "name": index.name, "object_id": index.object_id, "schema_id": schema_id(context, table),
                "parent_object_id": table.object_id, "type": kind, "type_desc": text, "create_date": created,
                "modify_date": created, "unique_index_id": index.number, "is_system_named": int("__" in index.name),
            }  # fmt: skip


def default_values(context: ExecutionContext, table: Table) -> Iterator[Values]:
    """Yield sys.default_constraints of a table; their numbers follow the table's own."""
    created = as_datetime(table.created)
    for column in table.columns:
        if column.default is not None:
            number = default_object_id(table, column)
            yield {
                "name": f"DF__{table.name[:9]}__{column.name[:5]}__{number:08X}", "object_id": number,
                "schema_id": schema_id(context, table), "parent_object_id": table.object_id, "type": "D ",
                "type_desc": "DEFAULT_CONSTRAINT", "create_date": created, "modify_date": created,
                "parent_column_id": column.number, "definition": column.default_text, "is_system_named": 1,
            }  # fmt: skip


def default_object_id(table: Table, column: Column) -> int:
    """Return the number of a column's default, 0 without one."""
    return 0 if column.default is None else table.object_id + column.number


@view("sys.schemas", "name sysname, schema_id int, principal_id int = 1")
def _schemas(context: ExecutionContext) -> Iterator[Values]:
    own = list(context.transaction.state.schemas.values())
    for number, name in sorted([*own, (2, "guest"), (3, "INFORMATION_SCHEMA"), (4, "sys")]):
        yield {"name": name, "schema_id": number}


@view("sys.objects", OBJECT)
def _objects(context: ExecutionContext) -> Iterator[Values]:
    for item in visible(context):
        yield object_values(context, item)
        if isinstance(item, Table):
            yield from constraint_values(context, item)
            yield from default_values(context, item)


@view(
    "sys.tables",
    OBJECT + ", lob_data_space_id int = 0, filestream_data_space_id int, max_column_id_used int, "
    "lock_on_bulk_load bit = 0, uses_ansi_nulls bit = 1, is_replicated bit = 0, has_replication_filter bit = 0, "
    "is_merge_published bit = 0, is_sync_tran_subscribed bit = 0, has_unchecked_assembly_data bit = 0, "
    "text_in_row_limit int = 0, large_value_types_out_of_row bit = 0, is_tracked_by_cdc bit = 0, "
    "lock_escalation tinyint = 0, lock_escalation_desc nvarchar(60) = 'TABLE', is_filetable bit = 0, "
    "is_memory_optimized bit = 0, durability tinyint = 0, durability_desc nvarchar(60) = 'SCHEMA_AND_DATA', "
    "temporal_type tinyint = 0, temporal_type_desc nvarchar(60) = 'NON_TEMPORAL_TABLE', history_table_id int, "
    "is_remote_data_archive_enabled bit = 0, is_external bit = 0, history_retention_period int, "
    "history_retention_period_unit int, history_retention_period_unit_desc nvarchar(10), is_node bit = 0, "
    "is_edge bit = 0, data_retention_period int = -1, data_retention_period_unit int = -1, "
    "data_retention_period_unit_desc nvarchar(10) = 'INFINITE', ledger_type tinyint = 0, "
    "ledger_type_desc nvarchar(60) = 'NON_LEDGER_TABLE', ledger_view_id int, is_dropped_ledger_table bit = 0",
)
def _tables(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        last = max((column.number for column in table.columns), default=0)
        yield {**object_values(context, table), "max_column_id_used": last}


@view(
    "sys.views",
    OBJECT + ", is_replicated bit = 0, has_replication_filter bit = 0, has_opaque_metadata bit = 0, "
    "has_unchecked_assembly_data bit = 0, with_check_option bit = 0, is_date_correlation_view bit = 0, "
    "is_tracked_by_cdc bit = 0, has_snapshot bit = 0, ledger_view_type tinyint = 0, "
    "ledger_view_type_desc nvarchar(60) = 'NON_LEDGER_VIEW', is_dropped_ledger_view bit = 0",
)
def _views(context: ExecutionContext) -> Iterator[Values]:
    return (object_values(context, item) for item in visible(context) if isinstance(item, View))


def view_columns(context: ExecutionContext, item: View) -> tuple[Column, ...]:
    """Return a view's columns, as its query has them now."""
    query = context.inner_query(item.select)
    return tuple(
        Column(name, output.bound.type, place + 1, output.bound.nullable)
        for place, (name, output) in enumerate(zip(item.columns, query.outputs, strict=True))
    )


def all_columns(context: ExecutionContext) -> Iterator[tuple[DatabaseObject, Column]]:
    """Yield the columns of all visible tables and views."""
    for item in visible(context):
        for column in item.columns if isinstance(item, Table) else view_columns(context, item):
            yield item, column


COLUMN = (
    "object_id int, name sysname, column_id int, system_type_id tinyint, user_type_id int, max_length smallint, "
    "precision tinyint, scale tinyint, collation_name sysname, is_nullable bit, is_ansi_padded bit = 1, "
    "is_rowguidcol bit = 0, is_identity bit = 0, "
)
COLUMN_REST = (
    "is_filestream bit = 0, is_replicated bit = 0, is_non_sql_subscribed bit = 0, is_merge_published bit = 0, "
    "is_dts_replicated bit = 0, is_xml_document bit = 0, xml_collection_id int = 0, default_object_id int = 0, "
    "rule_object_id int = 0, "
)
COLUMN_END = (
    "is_sparse bit = 0, is_column_set bit = 0, generated_always_type tinyint = 0, "
    "generated_always_type_desc nvarchar(60) = 'NOT_APPLICABLE', encryption_type int, "
    "encryption_type_desc nvarchar(64), encryption_algorithm_name sysname, column_encryption_key_id int, "
    "column_encryption_key_database_name sysname, is_hidden bit = 0, is_masked bit = 0, graph_type int, "
    "graph_type_desc nvarchar(60), is_data_deletion_filter_column bit = 0, ledger_view_column_type tinyint, "
    "ledger_view_column_type_desc nvarchar(60), is_dropped_ledger_column bit = 0"
)


def column_values(item: DatabaseObject, column: Column) -> Values:
    """Return sys.columns of a column."""
    text_like = column.type.is_text or column.type.is_binary
    return {
        "object_id": item.object_id, "name": column.name, "column_id": column.number, **type_values(column.type),
        "is_nullable": int(column.nullable), "is_identity": int(column.identity is not None),
        "is_computed": int(column.computed is not None), "is_rowguidcol": int(column.rowguid),
        "is_ansi_padded": int(text_like or column.type.name == "sql_variant"),
        "default_object_id": default_object_id(item, column) if isinstance(item, Table) else 0,
    }  # fmt: skip


@view("sys.columns", COLUMN + "is_computed bit = 0, " + COLUMN_REST + COLUMN_END)
def _columns(context: ExecutionContext) -> Iterator[Values]:
    return (column_values(item, column) for item, column in all_columns(context))


@view(
    "sys.computed_columns",
    COLUMN + COLUMN_REST + "definition nvarchar(max), uses_database_collation bit = 1, is_persisted bit, "
    "is_computed bit = 1, " + COLUMN_END,
)
def _computed_columns(context: ExecutionContext) -> Iterator[Values]:
    for item, column in all_columns(context):
        if column.computed is not None:
            yield {
                **column_values(item, column), "definition": column.computed_text,
                "is_persisted": int(column.persisted),
            }  # fmt: skip


@view(
    "sys.identity_columns",
    COLUMN + COLUMN_REST + "seed_value sql_variant, increment_value sql_variant, last_value sql_variant, "
    "is_not_for_replication bit = 0, is_computed bit = 0, " + COLUMN_END,
)
def _identity_columns(context: ExecutionContext) -> Iterator[Values]:
    from etl_cli.sandbox.standin.types import Variant

    for item, column in all_columns(context):
        if column.identity is not None:
            last = context.session.database.runtime(item.object_id).last_identity
            yield {
                **column_values(item, column), "seed_value": Variant(column.type, column.identity[0]),
                "increment_value": Variant(column.type, column.identity[1]),
                "last_value": None if last is None else Variant(column.type, last),
            }  # fmt: skip


@view(
    "sys.key_constraints",
    OBJECT + ", unique_index_id int, is_system_named bit, is_enforced bit = 1",
)
def _key_constraints(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        yield from constraint_values(context, table)


@view(
    "sys.default_constraints",
    OBJECT + ", parent_column_id int, definition nvarchar(max), is_system_named bit",
)
def _default_constraints(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        yield from default_values(context, table)


@view("sys.sql_modules", "object_id int, definition nvarchar(max), uses_ansi_nulls bit = 1, "
      "uses_quoted_identifier bit = 1, is_schema_bound bit = 0")  # fmt: skip
def _modules(context: ExecutionContext) -> Iterator[Values]:
    for item in visible(context):
        if isinstance(item, View):
            yield {"object_id": item.object_id, "definition": item.text}


@view(
    "sys.extended_properties",
    "class tinyint, class_desc nvarchar(60), major_id int, minor_id int, name sysname, value sql_variant",
)
def _extended_properties(context: ExecutionContext) -> Iterator[Values]:
    seen = {item.object_id for item in visible(context)}
    for key, value in sorted(context.transaction.state.properties.items()):
        if key.major in seen:
            yield {
                "class": PROPERTY_OF_OBJECT, "class_desc": "OBJECT_OR_COLUMN", "major_id": key.major,
                "minor_id": key.minor, "name": key.name, "value": value,
            }  # fmt: skip


empty("sys.foreign_keys", OBJECT + ", referenced_object_id int, key_index_id int, is_disabled bit, "
      "is_not_for_replication bit, is_not_trusted bit, delete_referential_action tinyint, "
      "delete_referential_action_desc nvarchar(60), update_referential_action tinyint, "
      "update_referential_action_desc nvarchar(60), is_system_named bit")  # fmt: skip
empty("sys.foreign_key_columns", "constraint_object_id int, constraint_column_id int, parent_object_id int, "
      "parent_column_id int, referenced_object_id int, referenced_column_id int")  # fmt: skip
empty("sys.check_constraints", OBJECT + ", is_disabled bit, is_not_for_replication bit, is_not_trusted bit, "
      "parent_column_id int, definition nvarchar(max), uses_database_collation bit, is_system_named bit")  # fmt: skip
empty("sys.triggers", "name sysname, object_id int, parent_class tinyint, parent_class_desc nvarchar(60), "
      "parent_id int, type char(2), type_desc nvarchar(60), create_date datetime, modify_date datetime, "
      "is_ms_shipped bit, is_disabled bit, is_not_for_replication bit, is_instead_of_trigger bit")  # fmt: skip
