"""Makes a target's rows those of a shadow: by key, or all of them where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.merge import Counts, Merge
from etl_cli.runtime.sink.queries import execute, query
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.sink.target import Target


def apply_difference(
    connection: SinkConnection,
    plan: TablePlan,
    shadow: Shadow,
    target: Target,
    *,
    run_id: int = 0,
    shards: Sequence[str] | None = None,
) -> Counts:
    """Within the open transaction; without a key every row is replaced. With `shards` only their rows change.

    The lock keeps other writers out until the end, for a row of theirs would be neither seen nor spared;
    readers go on.
    """
    execute(connection, f"LOCK TABLE {_target(plan)} IN SHARE ROW EXCLUSIVE MODE")
    if plan.key:
        repeated = _delete_repeated(connection, plan, target)
        merge = Merge(plan, target, shadow.quoted, run_id, complete=True, shards=shards)
        counts = Counts(deleted=repeated) + merge.apply(connection)
    else:
        deleted = execute(connection, f"DELETE FROM {_target(plan)}{_of(plan, shards)}")
        counts = Counts(insert_all(connection, plan, shadow), 0, deleted)
    advance_sequences(connection, plan)
    return counts


def insert_all(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> int:
    """Insert all rows of the shadow."""
    listed = ", ".join(quote_sink(name) for name in plan.target_columns)
    return execute(
        connection,
        f"INSERT INTO {_target(plan)} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {shadow.quoted}",
    )


def advance_sequences(connection: SinkConnection, plan: TablePlan) -> None:
    """Trap 24: the next row that somebody inserts by hand must not meet a copied one."""
    copied = plan.target_columns
    for name, sequence in connection.execute(query("sequences"), {"table": _target(plan)}).fetchall():
        if name in copied:
            highest = f"max({quote_sink(name)})"
            execute(
                connection,
                f"SELECT setval({quote_text(sequence)}, {highest}) FROM {_target(plan)}"
                f" HAVING {highest} >= (SELECT last_value FROM {sequence})",
            )


def _delete_repeated(connection: SinkConnection, plan: TablePlan, target: Target) -> int:
    """Where the target's own key is another one, a key may stand in it twice: one row of each is kept."""
    if target.key and set(target.key.columns) <= set(plan.key):
        return 0
    same_key = " AND ".join(f"t.{quote_sink(name)} = s.{quote_sink(name)}" for name in plan.key)
    return execute(
        connection,
        f"DELETE FROM {_target(plan)} AS t USING {_target(plan)} AS s"
        f" WHERE {same_key} AND (t.tableoid, t.ctid) > (s.tableoid, s.ctid)",
    )


def _of(plan: TablePlan, shards: Sequence[str] | None) -> str:
    if shards is None or plan.shard_column is None:
        return ""
    return f" WHERE {quote_sink(plan.shard_column)} IN ({', '.join(map(quote_text, shards))})"


def _target(plan: TablePlan) -> str:
    return quote_sink(plan.target_schema, plan.target_name)
