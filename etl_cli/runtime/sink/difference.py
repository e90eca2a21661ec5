"""Changes a target's rows into a shadow's: deletes, updates and inserts by key, counted."""

from __future__ import annotations

import psycopg

from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.apply import planned_columns
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import query
from etl_cli.runtime.sink.shadow import Shadow, run
from etl_cli.runtime.sink.target import Target

Counts = tuple[int, int, int]
"""Rows inserted, updated, deleted."""


def apply_difference(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: Target) -> Counts:
    """Within the open transaction; without a key every row is replaced.

    The lock keeps other writers out until the end, for a row of theirs would be neither seen nor spared;
    readers go on.
    """
    run(connection, f"LOCK TABLE {_target(plan)} IN SHARE ROW EXCLUSIVE MODE")
    if plan.key:
        counts = _by_key(connection, plan, shadow, target)
    else:
        deleted = run(connection, f"DELETE FROM {_target(plan)}")
        counts = insert_all(connection, plan, shadow), 0, deleted
    _advance_sequences(connection, plan)
    return counts


def insert_all(connection: SinkConnection, plan: TablePlan, shadow: Shadow, condition: str = "") -> int:
    """Insert the shadow's rows (alias s), all or those that meet the condition."""
    listed = ", ".join(quote_sink(name) for name in planned_columns(plan))
    return run(
        connection,
        f"INSERT INTO {_target(plan)} ({listed}) OVERRIDING SYSTEM VALUE"
        f" SELECT {listed} FROM {shadow.quoted} AS s {condition}",
    )


def _by_key(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: Target) -> Counts:
    same_key = _same_key(plan, "t", "s")
    deleted = _delete_repeated(connection, plan, target)
    deleted += run(
        connection,
        f"DELETE FROM {_target(plan)} AS t WHERE NOT EXISTS (SELECT FROM {shadow.quoted} AS s WHERE {same_key})",
    )
    updated = _update(connection, plan, shadow, target)
    missing = f"WHERE NOT EXISTS (SELECT FROM {_target(plan)} AS t WHERE {same_key})"
    inserted = insert_all(connection, plan, shadow, missing)
    return inserted - updated.reinserted, updated.rows, deleted


class _Updated:
    def __init__(self, rows: int, reinserted: int) -> None:
        self.rows = rows
        self.reinserted = reinserted


def _delete_repeated(connection: SinkConnection, plan: TablePlan, target: Target) -> int:
    """Where the target's own key is another one, a key may stand in it twice: one row of each is kept."""
    if target.key and set(target.key.columns) <= set(plan.key):
        return 0
    return run(
        connection,
        f"DELETE FROM {_target(plan)} AS t USING {_target(plan)} AS s"
        f" WHERE {_same_key(plan, 't', 's')} AND (t.tableoid, t.ctid) > (s.tableoid, s.ctid)",
    )


def _update(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: Target) -> _Updated:
    others = [column for column in plan.columns if column.target not in plan.key]
    compared = [column for column in others if column.source_type not in ("timestamp", "rowversion")]
    if not compared:
        return _Updated(0, 0)
    old, new = (
        ", ".join(_comparable(f"{side}.{quote_sink(c.target)}", c.sink_type) for c in compared) for side in "ts"
    )
    changed = f"{_same_key(plan, 't', 's')} AND ROW({old}) IS DISTINCT FROM ROW({new})"
    assignments = ", ".join(f"{quote_sink(c.target)} = s.{quote_sink(c.target)}" for c in others)
    try:
        with connection.transaction():
            rows = run(
                connection,
                f"UPDATE {_target(plan)} AS t SET {assignments} FROM {shadow.quoted} AS s WHERE {changed}",
            )
        return _Updated(rows, 0)
    except psycopg.errors.UniqueViolation:
        if not _rows_may_be_reinserted(plan, target):
            raise
    # values of a unique column have changed places: row by row that cannot be, so the rows make room first
    rows = run(connection, f"DELETE FROM {_target(plan)} AS t USING {shadow.quoted} AS s WHERE {changed}")
    return _Updated(rows, rows)


def _rows_may_be_reinserted(plan: TablePlan, target: Target) -> bool:
    """Whether nobody notices: no column of the target's own, no row that refers to it, no trigger, no rule."""
    own_columns = {column.name for column in target.columns} - set(planned_columns(plan))
    referred_to = any(not constraint.own for constraint in target.constraints)
    watched = any(dependent.view_kind == "-" for dependent in target.dependents)
    return not (own_columns or referred_to or watched)


def _advance_sequences(connection: SinkConnection, plan: TablePlan) -> None:
    """Trap 24: the next row that somebody inserts by hand must not meet a copied one."""
    copied = planned_columns(plan)
    for name, sequence in connection.execute(query("sequences"), {"table": _target(plan)}).fetchall():
        if name in copied:
            highest = f"max({quote_sink(name)})"
            run(
                connection,
                f"SELECT setval({quote_text(sequence)}, {highest}) FROM {_target(plan)}"
                f" HAVING {highest} >= (SELECT last_value FROM {sequence})",
            )


def _same_key(plan: TablePlan, one: str, other: str) -> str:
    return " AND ".join(f"{one}.{quote_sink(name)} = {other}.{quote_sink(name)}" for name in plan.key)


def _comparable(expression: str, sink_type: str) -> str:
    """Types whose `=` does not exist or takes two values for one are compared by their bytes or text."""
    if sink_type in _BYTES:
        return f"{_BYTES[sink_type]}({expression})"
    if sink_type in ("xml", "jsonb"):
        return f"{expression}::text"
    return f'{expression} COLLATE "C"' if sink_type == "text" else expression


_BYTES = {"real": "float4send", "double precision": "float8send", "real[]": "array_send"}


def _target(plan: TablePlan) -> str:
    return quote_sink(plan.target_schema, plan.target_name)
