"""Finds runs whose process is gone, says so in the ledger, and removes what they left in the sink.

A run holds an advisory lock for as long as its ledger session lives; Postgres gives it back when the
process dies, however it dies. A run that is `running` and whose lock is free is abandoned.
"""

from __future__ import annotations

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute

_PIPELINE_CLASS = 0x65746D
"""First key of the advisory locks of pipelines; the second is the hash of the name."""

_LOCK_CLASS = 0x65746C
"""First key of the advisory locks of runs; the second is the run's number."""


def hold(connection: SinkConnection, run_id: int) -> None:
    """Show that the run lives, until the connection ends."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", [_LOCK_CLASS, _key(run_id)])


def claim(connection: SinkConnection, pipeline: str) -> None:
    """Make sure that no other run of the pipeline is active, until the connection ends.

    Raises PlanError that names the active run: an older run that ends later would overwrite a newer one.
    """
    got = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_PIPELINE_CLASS, pipeline]).fetchone()
    if got and got[0]:
        return
    row = connection.execute(
        "SELECT max(run_id), min(host) FROM etl.runs WHERE pipeline = %s AND state = 'running'", [pipeline]
    ).fetchone()
    active = f"run {row[0]} on {row[1]}" if row and row[0] else "another run"
    raise PlanError(f"{active} of {pipeline} is active", "wait until it has ended, or stop it")


def rescue(connection: SinkConnection, pipeline: str) -> list[int]:
    """Mark the pipeline's abandoned runs as interrupted and drop their shadows; their numbers."""
    rows = connection.execute(
        "SELECT run_id FROM etl.runs WHERE pipeline = %s AND state = 'running' ORDER BY run_id", [pipeline]
    ).fetchall()
    return [run_id for (run_id,) in rows if _rescued(connection, run_id)]


def _rescued(connection: SinkConnection, run_id: int) -> bool:
    with connection.transaction():
        free = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, _key(run_id)]).fetchone()
        if not free or not free[0]:
            return False
        connection.execute(
            "UPDATE etl.tasks SET state = 'cancelled', finalized_at = clock_timestamp()"
            " WHERE run_id = %s AND state IN ('queued', 'running')",
            [run_id],
        )
        changed = connection.execute(
            "UPDATE etl.runs SET state = 'interrupted', finalized_at = clock_timestamp(),"
            " error = 'the process ended without a word' WHERE run_id = %s AND state = 'running'",
            [run_id],
        ).rowcount
    _drop_shadows(connection, run_id)
    return bool(changed)


def _drop_shadows(connection: SinkConnection, run_id: int) -> None:
    """The statements of a dead client may still hold them: they end first."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND c.relname ~ %s AND pg_catalog.pg_get_userbyid(c.relowner) = current_user",
        [f"__etl_{run_id}_[0-9]+$"],
    ).fetchall()
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = current_user AND application_name ~ %s",
        [rf"^etl-cli .* run {run_id}( |$)"],
    )
    for schema, name in rows:
        execute(connection, f"DROP TABLE IF EXISTS {quote_sink(schema, name)}")


def _key(run_id: int) -> int:
    """The run's number as the lock's second key, which has 31 bits."""
    return run_id % 2**31
