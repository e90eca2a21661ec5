"""The plan of an own source's table, from the columns that are known. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import collisions, cut, fold
from etl_cli.runtime.own.columns import Columns
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.program.declared import Change
from etl_cli.runtime.program.shapes import changed
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.type_map import TEXT_TYPES, base_type

FROM_PROGRAM = "of etl.py"
"""The source type of a column of an own source."""


def plan_of(source: Source, columns: Columns, changes: list[Change], *, schema: str, names: str) -> TablePlan:
    """The table as it is written, after the changes of its rows. Raises PlanError."""
    missing = [name for name in source.key if name not in columns.types]
    if missing:
        raise PlanError(
            f"{source.name}: no row has {', '.join(missing)}, of its key", "yield it in every row, or correct `key`"
        )
    planned = tuple(_column(name, kind, source, names) for name, kind in columns.types.items())
    for short, meeting in collisions([column.target for column in planned]):
        raise PlanError(f"{source.name}: {' and '.join(meeting)} would share the column {short}", "rename one of them")
    targets = {column.source: column.target for column in planned}
    plan = table_plan(source, planned, [targets[name] for name in source.key], schema=schema, names=names)
    plan = changed(plan, changes) if changes else plan
    return replace(plan, cursor=source.cursor) if _has_cursor(plan, source, columns) else plan


def _has_cursor(plan: TablePlan, source: Source, columns: Columns) -> bool:
    """Whether the target can tell the newer of two versions (trap 18): no change of the rows took the column away."""
    return any(c.source == source.cursor and c.sink_type == columns.types.get(c.source) for c in plan.columns)


def member_column_of(source: Source, names: str) -> str | None:
    """The target's column for the member's name."""
    return cut(fold(source.member_column, names)) if source.member_column else None


def table_plan(
    source: Source, columns: Sequence[ColumnPlan], key: Sequence[str], *, schema: str, names: str
) -> TablePlan:
    """The plan of these columns; `key` is the target's, without the member's column."""
    member = member_column_of(source, names)
    target_schema, target_name = source.target_name(schema)
    return TablePlan(
        source_schema="",
        source_name=source.name,
        target_schema=target_schema,
        target_name=target_name,
        mode=source.mode,
        columns=tuple(columns),
        key=(*key, member) if key and member else tuple(key),
        order=(),
        shard_column=member,
        where=None,
        chunk_rows=1,
        chunk_bytes=1,
        apply="auto",
        validate="none",
        allow_empty=source.allow_empty,
        nul_characters=source.nul_characters,
        contract=source.schema,
        on_bad_row=source.on_bad_row,
        max_rejects=source.max_rejects,
        soft_delete=source.soft_delete,
        track_changes=source.track_changes,
        lineage=source.lineage,
    )


def _column(name: str, kind: str, source: Source, names: str) -> ColumnPlan:
    return ColumnPlan(
        source=name,
        target=cut(fold(name, names)),
        source_type=FROM_PROGRAM,
        sink_type=kind,
        expression="",
        nullable=name not in source.key,
        text=base_type(kind) in TEXT_TYPES,
    )
