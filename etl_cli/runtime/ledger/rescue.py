"""Lets one run of a pipeline work at a time, ends what dead runs left at work, and removes what they left over."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Collection

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.heartbeat import LOCK_CLASS, RunningRun, key, running
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute, query

_PIPELINE_CLASS = 0x65746D
"""First key of the advisory locks of pipelines; the second is the hash of the name."""


def claim(connection: SinkConnection, pipeline: str, overlap: str = "skip") -> None:
    """Make sure that no other run of the pipeline is active, until the connection ends.

    `overlap` decides what an active one means: `skip` raises PlanError that names it, `queue` waits for its
    end, `allow` asks nobody. A run whose heartbeat has expired does not count: its session is ended.
    """
    if overlap == "allow":
        return
    if _got(connection, pipeline):
        return
    for run in running(connection, pipeline):
        if run.expired:
            end_sessions(connection, run.run_id)
    if _got(connection, pipeline):
        return
    if overlap == "queue":
        with connection.transaction():  # the lock is the session's, only the endless patience ends with this
            connection.execute("SET LOCAL lock_timeout = 0")
            connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_PIPELINE_CLASS, pipeline])
        return
    active = max(running(connection, pipeline), key=lambda run: run.run_id, default=None)
    named = f"run {active.run_id} on {active.host}" if active else "another run"
    raise PlanError(
        f"{named} of {pipeline} is active", "wait until it has ended, or stop it; `overlap: queue` would wait by itself"
    )


def rescue(connection: SinkConnection, pipeline: str) -> list[int]:
    """Mark the pipeline's abandoned runs as interrupted; their numbers.

    Their statements in the sink end first: a dead client does not stop what it has begun.
    """
    return [run.run_id for run in running(connection, pipeline) if _rescued(connection, run)]


def cancel_interrupted(connection: SinkConnection, pipeline: str, asked_at: dt.datetime, error: str) -> None:
    """interrupted -> cancelled, for the runs that were at work on this host when their cancel was taken."""
    connection.execute(
        "UPDATE etl.runs SET state = 'cancelled', error = %s WHERE pipeline = %s AND host = %s"
        " AND state = 'interrupted' AND attempted_at <= %s AND finalized_at >= %s",
        [error, pipeline, socket.gethostname(), asked_at, asked_at],
    )


def drop_leftovers(
    connection: SinkConnection, pipeline: str, tables: Collection[str], keep: Collection[str], resume_within_s: float
) -> list[str]:
    """Drop the tables beside targets that ended runs of the pipeline left; their names.

    Those in `keep` stay (`schema.name`), and those of other tables than `tables` until `resume_within_s` has passed.
    """
    rows = connection.execute(
        query("leftovers"),
        {"pipeline": pipeline, "tables": list(tables), "keep": list(keep), "age": resume_within_s},
    ).fetchall()
    for schema, name, run_id in rows:
        end_sessions(connection, run_id)
        execute(connection, f"DROP TABLE IF EXISTS {quote_sink(schema, name)}")
    return [name for _, name, _ in rows]


def _got(connection: SinkConnection, pipeline: str) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_PIPELINE_CLASS, pipeline]).fetchone()
    return bool(row and row[0])


def _rescued(connection: SinkConnection, run: RunningRun) -> bool:
    with connection.transaction():
        free = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, key(run.run_id)]).fetchone()
        if not (free and free[0]) and not run.expired:
            return False
        end_sessions(connection, run.run_id)
        connection.execute(
            "UPDATE etl.tasks SET state = 'cancelled', finalized_at = clock_timestamp()"
            " WHERE run_id = %s AND state IN ('queued', 'running')",
            [run.run_id],
        )
        changed = connection.execute(
            "UPDATE etl.runs SET state = 'interrupted', finalized_at = clock_timestamp(),"
            " error = 'the process ended without a word' WHERE run_id = %s AND state = 'running'",
            [run.run_id],
        ).rowcount
    return bool(changed)


def end_sessions(connection: SinkConnection, run_id: int) -> None:
    """End every other session that works for the run, and wait until they are gone."""
    connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        " AND application_name ~ %s",
        [rf"^etl-cli .* run {run_id}( |$)"],
    )
