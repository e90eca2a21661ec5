"""Makes visible what the members of an own source have loaded beside the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from etl_cli.runtime.errors import DataError, PlanError
from etl_cli.runtime.names import cut, fold, quote_sink, quote_text, with_suffix
from etl_cli.runtime.own.table import FROM_PROGRAM, member_column_of, table_plan
from etl_cli.runtime.plan import DELETED_AT, LINEAGE, ColumnPlan, TablePlan
from etl_cli.runtime.program.declared import Change
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.merge import create_changes_table
from etl_cli.runtime.sink.publish import Part, Published, publish
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow, create_shadow
from etl_cli.runtime.sink.swap import Record
from etl_cli.runtime.sink.target import Target, read_target


def shadow_for(connection: SinkConnection, source: Source, schema: str, mark: str, beside: str | None) -> Shadow:
    """The table beside the target, that of an earlier attempt where there is one; `mark` tells run and source.

    What only lends its rows by their keys is kept out of sight, in schema etl.
    """
    if beside is not None:
        return Shadow(*beside.split(".", 1))
    target_schema, name = source.target_name(schema)
    is_there = read_target(connection, target_schema, name) is not None
    lends = is_there and bool(source.key)
    return Shadow("etl" if lends else target_schema, with_suffix(name, f"__etl_{mark}"))


def remove_members(
    connection: SinkConnection, source: Source, shadow: Shadow, members: Sequence[str], names: str
) -> None:
    """Take out of the shadow what was loaded for these members; everything, where no column tells whose it is."""
    if read_target(connection, shadow.schema, shadow.name) is None:
        return
    column = member_column_of(source, names)
    listed = ", ".join(map(quote_text, members))
    where = f" WHERE {quote_sink(column)} IN ({listed})" if column is not None else ""
    execute(connection, f"DELETE FROM {shadow.quoted}{where}")


def publish_shadow(
    connection: SinkConnection,
    source: Source,
    changes: Sequence[Change],
    shadow: Shadow,
    record: Record,
    *,
    names: str,
    schema: str,
    run_id: int,
    members: Sequence[str] | None,
    empty: Sequence[str],
) -> Published | None:
    """Apply the shadow to the target; None where there is neither a row nor a target.

    `members` are those that the run was asked for (None = all), `empty` those of them that gave no row. Raises
    DataError for what would empty a full target, SinkError, PlanError; the target is as it was then.
    """
    target_schema, name = source.target_name(schema)
    target = read_target(connection, target_schema, name)
    there = read_target(connection, shadow.schema, shadow.name)
    if there is None and target is None:
        with connection.transaction():
            record(connection)
        return None
    form = there or target
    assert form is not None
    plan = _plan(source, changes, form, names=names, schema=schema)
    if there is None:
        create_shadow(connection, plan, shadow)
    if plan.track_changes:
        create_changes_table(connection, plan)
    planned = decide(plan, target)
    if planned.problem:
        raise PlanError(planned.problem)
    if shadow.schema == "etl" and planned.how != "create":
        planned = Apply("difference", f"mode {source.mode}", planned.problem, planned.evolution)
    elif members is not None and planned.how == "swap":
        planned = replace(planned, how="difference", why="a part of the members")
    return publish(connection, plan, shadow, planned, record, Part(run_id, members, list(empty)))


def _plan(source: Source, changes: Sequence[Change], there: Target, *, names: str, schema: str) -> TablePlan:
    """The table as it lies in the shadow, which all members have brought into form."""
    member = member_column_of(source, names)
    own = {DELETED_AT, *([member] if member else []), *(LINEAGE if source.lineage else ())}
    named = next((change.key for change in reversed(changes) if change.key), source.key)
    key = [cut(fold(column, names)) for column in named]
    columns = [
        ColumnPlan(c.name, c.name, FROM_PROGRAM, c.type, "", nullable=not c.not_null)
        for c in there.columns
        if c.name not in own
    ]
    missing = [name for name in key if name not in {column.target for column in columns}]
    if missing:
        raise DataError(f"{source.name}: no row had {', '.join(missing)}, of its key", "correct `key`")
    return table_plan(source, columns, key, schema=schema, names=names)
