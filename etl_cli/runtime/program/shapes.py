"""What changes of rows make of a table's columns: found by passing an empty batch through them, before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import fold
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.program.chain import DECLARED_TYPE, Chain
from etl_cli.runtime.program.declared import Change
from etl_cli.runtime.source.rows import arrow_type

COMPUTED = "computed"
"""The source type of a column that a change has made."""

_SINK_TYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.int16(): "smallint",
    pa.uint16(): "integer",
    pa.int32(): "integer",
    pa.uint32(): "bigint",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.date32(): "date",
    pa.time64("us"): "time(6) without time zone",
}


def changed(plan: TablePlan, changes: Sequence[Change]) -> TablePlan:
    """The plan with the columns that come out of the changes; those that are read are kept in `reads`.

    Raises PlanError for changes that cannot be: of the key, the cursor, or to a type that has no place in Postgres.
    """
    if not changes:
        return plan
    _refuse_what_cannot_be(plan)
    given = pa.schema([(column.source, arrow_type(column.sink_type)) for column in plan.columns])
    chain = Chain(plan, changes, shard="")
    came = chain.shape(given)
    columns = tuple(_column(plan, given, field) for field in came)
    missing = [c.source for c in plan.columns if _is_needed(plan, c) and came.get_field_index(c.source) < 0]
    if missing:
        raise PlanError(
            f"{plan.source}: the changes of its rows take {', '.join(missing)} away, of key or cursor",
            "keep these columns as they are",
        )
    altered = [
        c.source
        for c in plan.columns
        if _is_needed(plan, c) and came.field(c.source).type != given.field(c.source).type
    ]
    if altered:
        raise PlanError(
            f"{plan.source}: the changes of its rows give {', '.join(altered)}, of key or cursor, another type",
            "keep these columns as they are",
        )
    key = _key(plan, changes, columns)
    return replace(plan, columns=columns, key=key, reads=plan.columns, reads_key=plan.key)


def _refuse_what_cannot_be(plan: TablePlan) -> None:
    spatial = [c.target for c in plan.columns if c.spatial and c.sink_type != "bytea"]
    if spatial:
        raise PlanError(
            f"{plan.source}: rows with {', '.join(spatial)} of PostGIS cannot be changed on their way",
            "take the column out of `types`, or out of `columns`",
        )
    if plan.validate == "checksums":
        raise PlanError(
            f"{plan.source}: validate: checksums compares what was read with what was written, and etl.py changes it",
            "use validate: counts",
        )


def _is_needed(plan: TablePlan, column: ColumnPlan) -> bool:
    return column.target in plan.key or column.source in plan.order


def _column(plan: TablePlan, given: pa.Schema, field: pa.Field) -> ColumnPlan:
    """A column that kept its name and its type keeps its plan."""
    same = next((c for c in plan.columns if c.source == field.name), None)
    if same is not None and given.field(field.name).type == field.type:
        return same
    folds = all(c.target == c.target.lower() for c in plan.columns)
    declared = (field.metadata or {}).get(DECLARED_TYPE)
    sink_type = declared.decode() if declared else sink_type_of(plan.source, field.name, field.type)
    return ColumnPlan(
        source=field.name,
        target=same.target if same else fold(field.name, "fold" if folds else "keep"),
        source_type=COMPUTED,
        sink_type=sink_type,
        expression="",
        nullable=True,
        text=sink_type in ("text", "jsonb"),
    )


def sink_type_of(source: str, column: str, kind: pa.DataType) -> str:
    """The Postgres type that holds an Arrow type exactly. Raises PlanError where there is none."""
    if kind in _SINK_TYPES:
        return _SINK_TYPES[kind]
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return "timestamp(6) with time zone" if kind.tz else "timestamp(6) without time zone"
    raise PlanError(
        f"{source}: etl.py gives {column} the Arrow type {kind}, which has no place in Postgres",
        "cast it, e.g. to pa.string(), pa.int64(), pa.decimal128(18, 2) or pa.timestamp('us')",
    )


def _key(plan: TablePlan, changes: Sequence[Change], columns: Sequence[ColumnPlan]) -> tuple[str, ...]:
    named = next((change.key for change in reversed(changes) if change.key), None)
    if not named:
        return plan.key
    targets = {column.source: column.target for column in columns}
    unknown = [name for name in named if name not in targets]
    if unknown:
        raise PlanError(f"{plan.source}: key={list(named)} names {', '.join(unknown)}, which no row has", "correct it")
    shard = (plan.shard_column,) if plan.shard_column and plan.shard_column in plan.key else ()
    return tuple(targets[name] for name in named) + shard
