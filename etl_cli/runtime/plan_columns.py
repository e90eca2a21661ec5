"""Decides which columns of a table are copied, and as what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_cli.runtime.config.tables import TypeRequest
from etl_cli.runtime.found_table import FoundTable
from etl_cli.runtime.names import cut, fold
from etl_cli.runtime.plan import ColumnPlan
from etl_cli.runtime.source.catalogue import SourceColumn
from etl_cli.runtime.type_map import (
    TEXT_TYPES,
    UnsupportedTypeError,
    base_type,
    is_large,
    max_bytes,
    select_expression,
    sink_type,
)
from etl_cli.runtime.type_requests import offset_column, requested_type, requests_of, widest


@dataclass(frozen=True)
class SinkTypes:
    """What the sink has beside the types of every Postgres."""

    has_xml: bool
    extension_types: Mapping[str, str]
    """The types of extensions, as it spells them."""

    def of(self, column: SourceColumn, request: TypeRequest | None) -> str:
        """The Postgres type of a column, with what `types` asks for. Raises UnsupportedTypeError."""
        if request is None:
            return sink_type(column.type, has_xml=self.has_xml)
        return requested_type(request, column.type, self.extension_types)


def plan_columns(table: FoundTable, types: SinkTypes) -> list[ColumnPlan]:
    """The columns in their order, each offset column after its own; what cannot be is a problem of `table`."""
    wanted = _wanted(table)
    requests, problems = requests_of(
        table.entry, table.first, table.copied, types.extension_types, table.config.defaults.types
    )
    for problem in problems:
        table.problem(problem)
    plans = []
    for column in wanted:
        request = requests.get(column.name)
        plan = _planned(table, column, request, types)
        if plan:
            plans.append(plan)
        if plan and request == "offset":
            plans.append(offset_column(plan, table.entry.names))
    _report_extra_columns(table)
    return plans


def _wanted(table: FoundTable) -> list[SourceColumn]:
    if table.entry.columns is None:
        return list(table.first.columns)
    wanted = []
    for name in table.entry.columns:
        column = table.first.column(name)
        if column is None:
            table.problem(f"has no column {name}: its columns are {', '.join(c.name for c in table.first.columns)}")
        else:
            wanted.append(column)
    return wanted


def _report_extra_columns(table: FoundTable) -> None:
    if table.entry.columns is not None:
        return
    for shard, found in table.by_shard.items():
        extra = [c.name for c in found.columns if table.first.column(c.name) is None]
        if extra:
            table.problem(
                f"columns differ: {shard} has {', '.join(extra)}, {table.first_shard} has not: "
                "make the tables alike, or list the common ones under `columns`"
            )


def _planned(
    table: FoundTable, column: SourceColumn, request: TypeRequest | None, types: SinkTypes
) -> ColumnPlan | None:
    """One column; None where the shards do not have it alike, or its type cannot be copied."""
    by_shard = table.columns(column.name)
    lacking = [shard for shard in table.by_shard if shard not in by_shard]
    if lacking:
        table.problem(
            f"columns differ: {table.first_shard} has {column.name}, {', '.join(lacking)} has not: "
            "make the tables alike, or list the common ones under `columns`"
        )
        return None
    kind = _common_type(table, column.name, by_shard, request, types)
    if kind is None:
        return None
    if column.type.name == "xml" and kind == "text":
        table.note(f"column {column.name} becomes text, the sink is built without XML")
    nullable = any(other.nullable for other in by_shard.values())
    return _column_plan(column, cut(fold(column.name, table.entry.names)), kind, nullable)


def _common_type(
    table: FoundTable, name: str, by_shard: Mapping[str, SourceColumn], request: TypeRequest | None, types: SinkTypes
) -> str | None:
    """The one Postgres type of a column on all shards; None where there is none."""
    kinds = {}
    for shard, column in by_shard.items():
        try:
            kinds[shard] = types.of(column, request)
        except UnsupportedTypeError as error:
            table.problem(f"column {name}: {error.message} ({shard}): {error.remedy}")
            return None
    kinds = widest(kinds)
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{shard} {by_shard[shard].type} -> {kind}" for shard, kind in kinds.items())
        table.problem(f"columns differ: {name} is not of one type on all shards ({told}): make them alike")
        return None
    return kinds[table.first_shard]


def _column_plan(column: SourceColumn, target: str, kind: str, nullable: bool) -> ColumnPlan:
    return ColumnPlan(
        source=column.name,
        target=target,
        source_type=str(column.type),
        sink_type=kind,
        expression=select_expression(column.name, column.type),
        nullable=nullable,
        comment=column.comment,
        text=base_type(kind) in TEXT_TYPES,
        utf16=column.type.name in ("nchar", "nvarchar", "ntext", "sysname"),
        large=is_large(column.type),
        collation=column.type.collation if base_type(kind) in ("text", "character varying") else None,
        max_bytes=max_bytes(column.type),
        spatial=column.type.name in ("geography", "geometry"),
    )
