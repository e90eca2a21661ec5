"""Keeps the reference systems of spatial columns in the comments of the table that holds their WKB.

They are written in the transaction of the chunk that brought them, so that whoever comes later - another chunk,
another attempt, the next run of an incremental mode - knows them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.spatial import with_srids

_SRID = re.compile(r"WKB, SRID (\d+)")


def srids_of(connection: SinkConnection, plan: TablePlan, table: Shadow) -> dict[str, set[int]]:
    """By column what the comments of the table say."""
    wanted = [column.target for column in plan.columns if column.spatial and column.sink_type == "bytea"]
    if not wanted:
        return {}
    rows = connection.execute(
        "SELECT attname::text, col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attname = ANY (%s)",
        [table.quoted, wanted],
    ).fetchall()
    return {name: {int(number) for number in _SRID.findall(comment or "")} for name, comment in rows}


def record_srids(
    connection: SinkConnection, plan: TablePlan, table: Shadow, found: Mapping[str, Collection[int]]
) -> None:
    """Add what a chunk held, in the open transaction. Raises DataError where a column would have several."""
    if not found:
        return
    # streams that find the first ones at the same time take turns, and each sees what the one before it has written
    connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, table.quoted])
    known = srids_of(connection, plan, table)
    both = {name: set(srids) | known[name] for name, srids in found.items() if name in known}
    planned = {column.target: column for column in with_srids(plan, both).columns}
    for name, srids in both.items():
        if srids != known[name]:
            text = quote_text(planned[name].comment or "")
            execute(connection, f"COMMENT ON COLUMN {table.quoted}.{quote_sink(name)} IS {text}")


_LOCK_CLASS = 0x65746F
"""First key of the advisory locks under which a table's reference systems are written."""
