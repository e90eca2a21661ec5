"""Reads and writes the ledger; every statement on its tables stands here, in chunks.py or in rescue.py."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from etl_cli import __version__
from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.migrate import migrate
from etl_cli.runtime.ledger.rescue import hold
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class TaskId:
    """One table of one shard in one run."""

    run_id: int
    source_table: str
    shard: str


@dataclass(frozen=True)
class RunTotals:
    """What a run moved: rows read from the source, rows in the sink, COPY bytes."""

    rows_read: int
    rows_loaded: int
    bytes: int


class Ledger:
    """The ledger of one sink, over a connection of its own."""

    def __init__(self, connection: SinkConnection) -> None:
        self._connection = connection
        migrate(connection)

    def register(self, pipeline: str, pipeline_id: str) -> None:
        """Make the pipeline known. Raises PlanError where another pipeline has the name in this sink."""
        self._connection.execute(
            "INSERT INTO etl.pipelines (name, id) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
            [pipeline, pipeline_id],
        )
        row = self._connection.execute("SELECT id FROM etl.pipelines WHERE name = %s", [pipeline]).fetchone()
        if row and row[0] != pipeline_id:
            raise PlanError(
                f"another pipeline named {pipeline} (id {row[0]}) uses this sink, this one has the id {pipeline_id}",
                "is this directory a copy? generate a pipeline of its own, under another name",
            )

    def start_run(self, pipeline: str, fingerprint: str, requested_by: str) -> int:
        """A new run in state running, with its lock held before anybody sees it; its id."""
        with self._connection.transaction():
            run_id = self._insert_run(pipeline, fingerprint, requested_by)
            hold(self._connection, run_id)
        return run_id

    def _insert_run(self, pipeline: str, fingerprint: str, requested_by: str) -> int:
        row = self._connection.execute(
            "INSERT INTO etl.runs (pipeline, state, requested_by, fingerprint, host, pid, version, attempted_at)"
            " VALUES (%s, 'running', %s, %s, %s, %s, %s, clock_timestamp()) RETURNING run_id",
            [pipeline, requested_by, fingerprint, socket.gethostname(), os.getpid(), __version__],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def add_tasks(self, tasks: Sequence[tuple[TaskId, str, str]]) -> None:
        """Queue tasks: each with its target and mode."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO etl.tasks (run_id, source_table, shard, target, mode, state)"
                " VALUES (%s, %s, %s, %s, %s, 'queued')",
                [(t.run_id, t.source_table, t.shard, target, mode) for t, target, mode in tasks],
            )

    def task_started(self, task: TaskId) -> None:
        """queued -> running."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = 'running', attempted_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            [task.run_id, task.source_table, task.shard],
        )

    def task_loaded(
        self, task: TaskId, totals: RunTotals, *, counted: int | None, isolation: str, note: str | None
    ) -> None:
        """running -> loaded: all rows are in the sink, not yet visible."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = 'loaded', rows_counted = %s, rows_read = %s, rows_loaded = %s, bytes = %s,"
            " isolation = %s, note = %s, finalized_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            [counted, totals.rows_read, totals.rows_loaded, totals.bytes, isolation, note]
            + [task.run_id, task.source_table, task.shard],
        )

    def task_failed(self, task: TaskId, error: str, *, cancelled: bool = False) -> None:
        """running -> failed, or cancelled."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = %s, error = %s, finalized_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            ["cancelled" if cancelled else "failed", error, task.run_id, task.source_table, task.shard],
        )

    def finish_run(self, run_id: int, state: str, error: str | None = None) -> RunTotals:
        """running -> succeeded, failed, cancelled or interrupted; the totals are those of its tasks.

        What had not finished by then is cancelled with it.
        """
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE etl.tasks SET state = 'cancelled', finalized_at = clock_timestamp()"
                " WHERE run_id = %s AND state IN ('queued', 'running')",
                [run_id],
            )
            row = self._connection.execute(
                "UPDATE etl.runs SET state = %s, error = %s, finalized_at = clock_timestamp(),"
                " (rows_read, rows_loaded, bytes) ="
                " (SELECT coalesce(sum(rows_read), 0), coalesce(sum(rows_loaded), 0), coalesce(sum(bytes), 0)"
                "  FROM etl.tasks WHERE tasks.run_id = runs.run_id)"
                " WHERE run_id = %s RETURNING rows_read, rows_loaded, bytes",
                [state, error, run_id],
            ).fetchone()
        assert row is not None
        return RunTotals(*row)


def record_applied(connection: SinkConnection, run_id: int, source_table: str) -> None:
    """loaded -> applied, in the transaction that makes the rows visible."""
    connection.execute(
        "UPDATE etl.tasks SET state = 'applied' WHERE run_id = %s AND source_table = %s AND state = 'loaded'",
        [run_id, source_table],
    )
