"""Removes what the ledger has kept for long enough: `history.keep`."""

from __future__ import annotations

from etl_cli.runtime.sink.connect import SinkConnection

_AGE = "clock_timestamp() - make_interval(secs => %(keep_s)s)"


def prune(connection: SinkConnection, pipeline: str, keep_s: float) -> int:
    """Remove runs that ended longer ago, with their tasks, steps, chunks and rejects; how many.

    The newest run and the newest good one stay: a resumption, and whoever judges the pipeline's health, need them.
    Slots and requests go as well, but the newest slot of each entry, from which `catchup` counts. Watermarks stay.
    """
    given = {"pipeline": pipeline, "keep_s": keep_s}
    with connection.transaction():
        connection.execute(
            f"DELETE FROM etl.slots AS s WHERE pipeline = %(pipeline)s AND outcome IS NOT NULL AND due_at < {_AGE}"
            " AND due_at < (SELECT max(n.due_at) FROM etl.slots AS n"
            "               WHERE (n.pipeline, n.entry) = (s.pipeline, s.entry))",
            given,
        )
        connection.execute(f"DELETE FROM etl.requests WHERE pipeline = %(pipeline)s AND finished_at < {_AGE}", given)
        return connection.execute(
            f"DELETE FROM etl.runs WHERE pipeline = %(pipeline)s AND finalized_at < {_AGE}"
            " AND state NOT IN ('queued', 'running') AND run_id NOT IN (SELECT max(run_id) FROM etl.runs"
            "  WHERE pipeline = %(pipeline)s GROUP BY state = 'succeeded')",
            given,
        ).rowcount
