"""Changes a target's rows into a shadow's: deletes, updates and inserts by key, counted."""

from __future__ import annotations

from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.apply import planned_columns
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import query
from etl_cli.runtime.sink.shadow import Shadow, run

Counts = tuple[int, int, int]
"""Rows inserted, updated, deleted."""


def apply_difference(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> Counts:
    """Within the open transaction; without a key every row is replaced."""
    target = quote_sink(plan.target_schema, plan.target_name)
    columns = [quote_sink(name) for name in planned_columns(plan)]
    listed = ", ".join(columns)
    if not plan.key:
        deleted = run(connection, f"DELETE FROM {target}")
        inserted = run(
            connection, f"INSERT INTO {target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {shadow.quoted}"
        )
        _advance_sequences(connection, plan, target)
        return inserted, 0, deleted
    counts = _by_key(connection, plan, shadow, target, listed)
    _advance_sequences(connection, plan, target)
    return counts


def _by_key(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: str, listed: str) -> Counts:
    same_key = " AND ".join(f"t.{quote_sink(name)} = s.{quote_sink(name)}" for name in plan.key)
    deleted = run(
        connection,
        f"DELETE FROM {target} AS t WHERE NOT EXISTS (SELECT FROM {shadow.quoted} AS s WHERE {same_key})",
    )
    updated = _update(connection, plan, target, shadow, same_key)
    inserted = run(
        connection,
        f"INSERT INTO {target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {shadow.quoted} AS s"
        f" WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {same_key})",
    )
    return inserted, updated, deleted


def _advance_sequences(connection: SinkConnection, plan: TablePlan, target: str) -> None:
    """Trap 24: the next row that somebody inserts by hand must not meet a copied one."""
    copied = planned_columns(plan)
    for name, sequence in connection.execute(query("sequences"), {"table": target}).fetchall():
        if name in copied:
            highest = f"max({quote_sink(name)})"
            run(
                connection,
                f"SELECT setval({quote_text(sequence)}, {highest}) FROM {target}"
                f" HAVING {highest} > (SELECT last_value FROM {sequence})",
            )


def _update(connection: SinkConnection, plan: TablePlan, target: str, shadow: Shadow, same_key: str) -> int:
    others = [column for column in plan.columns if column.target not in plan.key]
    compared = [column for column in others if column.source_type not in ("timestamp", "rowversion")]
    if not compared:
        return 0
    assignments = ", ".join(f"{quote_sink(c.target)} = s.{quote_sink(c.target)}" for c in others)
    old, new = (
        ", ".join(_comparable(f"{side}.{quote_sink(c.target)}", c.sink_type) for c in compared) for side in "ts"
    )
    return run(
        connection,
        f"UPDATE {target} AS t SET {assignments} FROM {shadow.quoted} AS s"
        f" WHERE {same_key} AND ROW({old}) IS DISTINCT FROM ROW({new})",
    )


def _comparable(expression: str, sink_type: str) -> str:
    """Types whose `=` does not exist or takes two values for one are compared by their bytes or text."""
    if sink_type == "real":
        return f"float4send({expression})"
    if sink_type == "double precision":
        return f"float8send({expression})"
    return f"{expression}::text" if sink_type == "xml" else expression
