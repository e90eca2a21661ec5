"""Reads and writes the ledger; every statement on its tables stands here, in chunks.py or in rescue.py."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from etl_cli import __version__
from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.heartbeat import hold
from etl_cli.runtime.ledger.migrate import migrate
from etl_cli.runtime.names import placed
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class TaskId:
    """One table of one shard in one run."""

    run_id: int
    source_table: str
    shard: str

    @property
    def label(self) -> str:
        """For messages: `dbo.orders of shard1`; an own source without members stands alone."""
        return placed(self.source_table, self.shard)


@dataclass(frozen=True)
class RunTotals:
    """What a run moved: rows read from the source, rows in the sink, COPY bytes."""

    rows_read: int
    rows_loaded: int
    bytes: int


@dataclass(frozen=True)
class PastRun:
    """A run as the ledger remembers it; `age_s` is the time since it ended."""

    run_id: int
    state: str
    attempt: int
    fingerprint: str | None
    partial: bool
    resumable: bool
    age_s: float
    barren: int = 1
    """How many of its attempts have committed nothing."""


@dataclass(frozen=True)
class PastTask:
    """A task of an earlier attempt."""

    state: str
    windows: dict[str, Any] | None
    shadow: str | None
    totals: RunTotals
    checksums: dict[str, Any] | None
    chunks: int = 0
    """How many it has committed."""


@dataclass(frozen=True)
class NewTask:
    """A task that is queued: its windows as JSON, and the name of its shadow, if it has one."""

    task: TaskId
    target: str
    mode: str
    windows: Mapping[str, Any]
    shadow: str | None


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended well."""

    moved: Moved
    counted: int | None
    isolation: str
    notes: Sequence[str] = ()
    checksums: Mapping[str, tuple[int, int]] | None = None


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

    def start_run(self, pipeline: str, fingerprint: str, request: Request) -> int:
        """A new run in state running, with its lock held before anybody sees it; its id."""
        with self._connection.transaction():
            row = self._connection.execute(
                "INSERT INTO etl.runs"
                " (pipeline, state, fingerprint, requested_by, partial, slot, request_id, params, host, pid, version,"
                "  attempted_at) VALUES (%s, 'running', %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())"
                " RETURNING run_id",
                [
                    *(pipeline, fingerprint, request.requested_by, request.is_partial),
                    *(request.slot, request.request_id, json.dumps(dict(request.params))),
                    *(socket.gethostname(), os.getpid(), __version__),
                ],
            ).fetchone()
            assert row is not None
            hold(self._connection, row[0])
        return int(row[0])

    def refused_run(self, pipeline: str, request: Request, error: str) -> int:
        """A run that failed before it could begin, as history shows it; it has no fingerprint, and no tasks."""
        row = self._connection.execute(
            "INSERT INTO etl.runs (pipeline, state, requested_by, partial, slot, request_id, host, pid, version,"
            "  attempted_at, finalized_at, error)"
            " VALUES (%s, 'failed', %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp(), %s)"
            " RETURNING run_id",
            [
                *(pipeline, request.requested_by, request.is_partial, request.slot, request.request_id),
                *(socket.gethostname(), os.getpid(), __version__, error),
            ],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def link_retry(self, old: int, new: int) -> None:
        """Say that a run does again what another did."""
        self._connection.execute("UPDATE etl.runs SET retry_of = %s WHERE run_id = %s", [old, new])

    def params_of(self, run_id: int) -> dict[str, Any]:
        """The parameters that a run was given."""
        row = self._connection.execute("SELECT params FROM etl.runs WHERE run_id = %s", [run_id]).fetchone()
        return dict(row[0]) if row else {}

    def forbid_resumption(self, run_id: int) -> None:
        """What the run has loaded did not pass validation: no other run may go on with it."""
        self._connection.execute("UPDATE etl.runs SET resumable = false WHERE run_id = %s", [run_id])

    def last_run(self, pipeline: str) -> PastRun | None:
        """The pipeline's newest run, of those that began."""
        row = self._connection.execute(
            "SELECT run_id, state, attempt, fingerprint, partial, resumable,"
            " extract(epoch FROM clock_timestamp() - coalesce(finalized_at, heartbeat_at))::float8,"
            " attempt - (SELECT count(DISTINCT c.attempt) FROM etl.chunks AS c WHERE c.run_id = runs.run_id)::int"
            " FROM etl.runs WHERE pipeline = %s AND fingerprint IS NOT NULL ORDER BY run_id DESC LIMIT 1",
            [pipeline],
        ).fetchone()
        return PastRun(*row) if row else None

    def resume_run(self, run_id: int) -> int:
        """interrupted -> running, as another attempt; its number. What had not finished is queued again."""
        with self._connection.transaction():
            row = self._connection.execute(
                "UPDATE etl.runs SET state = 'running', attempt = attempt + 1, error = NULL, finalized_at = NULL,"
                " host = %s, pid = %s, version = %s, attempted_at = clock_timestamp()"
                " WHERE run_id = %s AND state = 'interrupted' RETURNING attempt",
                [socket.gethostname(), os.getpid(), __version__, run_id],
            ).fetchone()
            assert row is not None
            self._queue_again(run_id)
            hold(self._connection, run_id)
        return int(row[0])

    def take_over(self, failed: int, run_id: int) -> None:
        """Make the failed run's tasks and their committed chunks those of the new run, which retries it."""
        with self._connection.transaction():
            self._connection.execute("UPDATE etl.runs SET retry_of = %s WHERE run_id = %s", [failed, run_id])
            self._connection.execute(
                "INSERT INTO etl.tasks (run_id, source_table, shard, target, mode, state, windows, shadow,"
                " rows_counted, rows_read, rows_loaded, bytes, isolation, rows_inserted, rows_updated, rows_deleted,"
                " rows_rejected, checksums, note)"
                " SELECT %s, source_table, shard, target, mode, state, windows, shadow, rows_counted,"
                " rows_read, rows_loaded, bytes, isolation, rows_inserted, rows_updated, rows_deleted, rows_rejected,"
                " checksums, note FROM etl.tasks WHERE run_id = %s",
                [run_id, failed],
            )
            for table in ("chunks", "rejects"):
                self._connection.execute(
                    sql.SQL(f"UPDATE etl.{table} SET run_id = %s WHERE run_id = %s"), [run_id, failed]
                )
            self._connection.execute("UPDATE etl.watermarks SET run_id = %s WHERE run_id = %s", [run_id, failed])
            self._queue_again(run_id)

    def _queue_again(self, run_id: int) -> None:
        self._connection.execute(
            "UPDATE etl.tasks SET state = 'queued', error = NULL, finalized_at = NULL"
            " WHERE run_id = %s AND state NOT IN ('loaded', 'applied')",
            [run_id],
        )

    def tasks_of(self, run_id: int) -> dict[tuple[str, str], PastTask]:
        """The run's tasks by (source table, shard)."""
        rows = self._connection.execute(
            "SELECT source_table, shard, state, windows, shadow, rows_read, rows_loaded, bytes, checksums,"
            " (SELECT count(*) FROM etl.chunks AS c"
            "  WHERE (c.run_id, c.source_table, c.shard) = (t.run_id, t.source_table, t.shard))"
            " FROM etl.tasks AS t WHERE run_id = %s",
            [run_id],
        ).fetchall()
        return {
            (table, shard): PastTask(state, windows, shadow, RunTotals(read, loaded, size), checksums, chunks)
            for table, shard, state, windows, shadow, read, loaded, size, checksums, chunks in rows
        }

    def add_tasks(self, tasks: Sequence[NewTask]) -> None:
        """Queue tasks; what they fixed when they were planned is kept for a resumption."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO etl.tasks (run_id, source_table, shard, target, mode, state, windows, shadow)"
                " VALUES (%s, %s, %s, %s, %s, 'queued', %s, %s)",
                [[*_key(new.task), new.target, new.mode, json.dumps(new.windows), new.shadow] for new in tasks],
            )

    def task_started(self, task: TaskId) -> None:
        """queued -> running."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = 'running', attempted_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            _key(task),
        )

    def task_loaded(self, task: TaskId, end: TaskEnd, *, visible: bool) -> None:
        """running -> loaded: all rows are in the sink, not yet visible; or applied, where each chunk was at once."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = %s, rows_counted = %s, rows_read = %s, rows_loaded = %s, bytes = %s,"
            " rows_inserted = %s, rows_updated = %s, rows_deleted = %s, rows_rejected = %s, checksums = %s,"
            " isolation = %s, note = %s, finalized_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            [
                "applied" if visible else "loaded",
                end.counted,
                end.moved.rows_read,
                end.moved.rows_loaded,
                end.moved.bytes,
            ]
            + ([end.moved.rows_inserted, end.moved.rows_updated, end.moved.rows_deleted] if visible else [None] * 3)
            + [end.moved.rows_rejected, json.dumps(end.checksums) if end.checksums else None]
            + [end.isolation, "; ".join(end.notes) or None, *_key(task)],
        )

    def task_failed(self, task: TaskId, error: str, *, cancelled: bool = False) -> None:
        """running -> failed, or cancelled."""
        self._connection.execute(
            "UPDATE etl.tasks SET state = %s, error = %s, finalized_at = clock_timestamp()"
            " WHERE (run_id, source_table, shard) = (%s, %s, %s)",
            ["cancelled" if cancelled else "failed", error, *_key(task)],
        )

    def finish_run(self, run_id: int, state: str, error: str | None = None) -> RunTotals | None:
        """running -> succeeded, failed, cancelled or interrupted; the totals are those of its tasks.

        What had not finished by then is cancelled with it; what did not end well has the rows of its chunks. None
        where the run was taken for dead meanwhile.
        """
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE etl.tasks SET state = 'cancelled', finalized_at = clock_timestamp()"
                " WHERE run_id = %s AND state IN ('queued', 'running')",
                [run_id],
            )
            self._connection.execute(
                "UPDATE etl.tasks AS t SET (rows_read, rows_loaded, bytes) = (SELECT coalesce(sum(c.rows_read), 0),"
                " coalesce(sum(c.rows), 0), coalesce(sum(c.bytes), 0) FROM etl.chunks AS c"
                "  WHERE (c.run_id, c.source_table, c.shard) = (t.run_id, t.source_table, t.shard))"
                " WHERE run_id = %s AND state IN ('failed', 'cancelled')",
                [run_id],
            )
            row = self._connection.execute(
                "UPDATE etl.runs SET state = %s, error = %s, finalized_at = clock_timestamp(),"
                " (rows_read, rows_loaded, bytes) ="
                " (SELECT coalesce(sum(rows_read), 0), coalesce(sum(rows_loaded), 0), coalesce(sum(bytes), 0)"
                "  FROM etl.tasks WHERE tasks.run_id = runs.run_id)"
                " WHERE run_id = %s AND state = 'running' RETURNING rows_read, rows_loaded, bytes",
                [state, error, run_id],
            ).fetchone()
        return RunTotals(*row) if row else None


def _key(task: TaskId) -> list[Any]:
    return [task.run_id, task.source_table, task.shard]


def end_run_of(connection: SinkConnection, run_id: int, pid: int, state: str, error: str) -> None:
    """running -> failed or cancelled, for a run whose process `pid` of this host could not record its end any more."""
    connection.execute(
        "UPDATE etl.runs SET state = %s, error = %s, finalized_at = clock_timestamp()"
        " WHERE run_id = %s AND state IN ('running', 'interrupted') AND host = %s AND pid = %s",
        [state, error, run_id, socket.gethostname(), pid],
    )


def forget_tasks(connection: SinkConnection, run_id: int, source_table: str, shards: Sequence[str]) -> None:
    """Tasks that are none any more, with their chunks and rejects; their rows are removed in the same transaction."""
    connection.execute(
        "DELETE FROM etl.tasks WHERE run_id = %s AND source_table = %s AND shard = ANY(%s)",
        [run_id, source_table, list(shards)],
    )


def record_applied(connection: SinkConnection, run_id: int, source_table: str, shards: Sequence[str]) -> None:
    """loaded -> applied, in the transaction that makes the rows visible."""
    connection.execute(
        "UPDATE etl.tasks SET state = 'applied' WHERE run_id = %s AND source_table = %s AND shard = ANY (%s)"
        " AND state = 'loaded'",
        [run_id, source_table, list(shards)],
    )
