"""The plan of an own source's table, from the columns that are known. Pure."""

from __future__ import annotations

from dataclasses import replace

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import collisions, cut, fold
from etl_cli.runtime.own.columns import Columns
from etl_cli.runtime.own.table import FROM_PROGRAM, table_plan
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.program.declared import Change
from etl_cli.runtime.program.shapes import changed
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.type_map import TEXT_TYPES, base_type


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
