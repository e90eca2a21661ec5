"""Reads what the ledger remembers of runs, for lists and shows; writes nothing and migrates nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl_cli.runtime.health import HistoryRow
from etl_cli.runtime.ledger.migrate import has_ledger, ledger_errors
from etl_cli.runtime.ledger.slots import PAUSED
from etl_cli.runtime.sink.connect import SinkConnection

# those of a run that is under way are in its chunks, those of an ended one in its own row
_COLUMNS = """
    r.run_id, r.pipeline, r.state, r.requested_by, r.attempt, r.host, r.created_at, r.attempted_at, r.finalized_at,
    CASE r.state WHEN 'running' THEN (SELECT coalesce(sum(c.rows), 0)::bigint FROM etl.chunks AS c
         WHERE c.run_id = r.run_id) ELSE r.rows_loaded END,
    r.bytes, r.retry_of, r.error, r.slot
"""


MOST_HISTORY = 50
"""How many runs are judged, where none of them was good."""


@dataclass(frozen=True)
class RunRow:
    """A run; `rows` are in the sink, `finalized_at` is None while it has not ended."""

    run_id: int
    pipeline: str
    state: str
    requested_by: str
    attempt: int
    host: str
    created_at: datetime
    attempted_at: datetime | None
    finalized_at: datetime | None
    rows: int
    bytes: int
    retry_of: int | None
    error: str | None
    slot: datetime | None

    @property
    def duration_s(self) -> float | None:
        """Of its last attempt; None while that is under way."""
        if self.attempted_at is None or self.finalized_at is None:
            return None
        return (self.finalized_at - self.attempted_at).total_seconds()


@dataclass(frozen=True)
class TaskRow:
    """One table of one shard of a run."""

    source_table: str
    shard: str
    target: str
    mode: str
    state: str
    rows_read: int
    rows_loaded: int
    note: str | None
    error: str | None


def last_runs(connection: SinkConnection, pipelines: Mapping[str, str]) -> dict[str, RunRow]:
    """The newest run of each pipeline, given as {name: id}; one that never ran here is left out."""
    if not has_ledger(connection):
        return {}
    with ledger_errors(connection, "reading"):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM unnest(%s::text[], %s::text[]) AS wanted(name, id)"
            " JOIN etl.pipelines AS p USING (name, id)"
            " JOIN etl.runs AS r ON r.run_id = (SELECT max(n.run_id) FROM etl.runs AS n WHERE n.pipeline = p.name)",
            [list(pipelines), list(pipelines.values())],
        ).fetchall()
    return {run.pipeline: run for run in (RunRow(*row) for row in rows)}


@dataclass(frozen=True)
class StepRow:
    """One step of a run."""

    step: str
    state: str
    tries: int
    began_at: datetime | None
    ended_at: datetime | None
    result: Any
    error: str | None


@dataclass(frozen=True)
class RunDetail:
    """All that the ledger knows of a run; `asked_by` is whoever asked the service for it."""

    run: RunRow
    asked_by: str | None
    params: Mapping[str, Any]
    tasks: Sequence[TaskRow]
    steps: Sequence[StepRow]
    chunks: int
    rejects: int


def runs_of(
    connection: SinkConnection,
    pipeline: str,
    pipeline_id: str,
    limit: int,
    state: str | None = None,
    since: datetime | None = None,
) -> list[RunRow]:
    """The pipeline's runs, newest first; of one state, or those since a time."""
    if not has_ledger(connection):
        return []
    with ledger_errors(connection, "reading"):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM etl.runs AS r JOIN etl.pipelines AS p ON p.name = r.pipeline"
            " WHERE p.name = %(name)s AND p.id = %(id)s AND (%(state)s::text IS NULL OR r.state = %(state)s)"
            " AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)"
            " ORDER BY r.run_id DESC LIMIT %(limit)s",
            {"name": pipeline, "id": pipeline_id, "state": state, "since": since, "limit": limit},
        ).fetchall()
    return [RunRow(*row) for row in rows]


def run_of_request(connection: SinkConnection, request_id: int) -> RunRow | None:
    """The last run that a request led to."""
    with ledger_errors(connection, "reading"):
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM etl.runs AS r WHERE r.request_id = %s ORDER BY r.run_id DESC LIMIT 1", [request_id]
        ).fetchone()
    return RunRow(*row) if row else None


def recent_history(connection: SinkConnection, pipeline: str, pipeline_id: str) -> list[HistoryRow]:
    """The pipeline's runs for whoever judges its health, newest first, back to the last good one.

    The last row is the newest slot that passed while the pipeline was paused, if one did.
    """
    return recent_histories(connection, {pipeline: pipeline_id})[pipeline]


def recent_histories(connection: SinkConnection, pipelines: Mapping[str, str]) -> dict[str, list[HistoryRow]]:
    """The same of many pipelines of one sink, given as {name: id}, by one query; empty for one that never ran here."""
    histories: dict[str, list[HistoryRow]] = {name: [] for name in pipelines}
    if not has_ledger(connection):
        return histories
    with ledger_errors(connection, "reading"):
        rows = connection.execute(
            "SELECT p.name, r.* FROM unnest(%(names)s::text[], %(ids)s::text[]) AS wanted(name, id)"
            " JOIN etl.pipelines AS p USING (name, id)"
            " CROSS JOIN LATERAL ((SELECT n.run_id, n.state, coalesce(n.attempted_at, n.created_at) AS began, n.slot,"
            "  n.finalized_at, n.heartbeat_at, coalesce(n.error, '') FROM etl.runs AS n"
            "  WHERE n.pipeline = p.name AND n.run_id >= coalesce((SELECT max(g.run_id) FROM etl.runs AS g"
            "   WHERE g.pipeline = p.name AND g.state = 'succeeded'), 0)"
            "  ORDER BY n.run_id DESC LIMIT %(limit)s)"
            " UNION ALL (SELECT 0, 'passed', s.due_at, s.due_at, s.due_at, NULL, '' FROM etl.slots AS s"
            "  WHERE s.pipeline = p.name AND s.outcome = %(paused)s ORDER BY s.due_at DESC LIMIT 1)) AS r"
            " ORDER BY r.run_id DESC",
            {"names": list(pipelines), "ids": list(pipelines.values()), "limit": MOST_HISTORY, "paused": PAUSED},
        ).fetchall()
    for name, *run in rows:
        histories[name].append(HistoryRow(*run))
    return histories


def tasks_of_run(connection: SinkConnection, run_id: int) -> Sequence[TaskRow]:
    """The tasks of a run."""
    with ledger_errors(connection, "reading"):
        rows = connection.execute(
            "SELECT source_table, shard, target, mode, state, rows_read, rows_loaded, note, error"
            " FROM etl.tasks WHERE run_id = %s ORDER BY source_table, shard",
            [run_id],
        ).fetchall()
    return [TaskRow(*row) for row in rows]


def run_detail(connection: SinkConnection, pipeline: str, pipeline_id: str, run_id: int) -> RunDetail | None:
    """All of one run; None where the pipeline has none of that number."""
    if not has_ledger(connection):
        return None
    with ledger_errors(connection, "reading"):
        row = connection.execute(
            f"SELECT {_COLUMNS}, q.requested_by, r.params,"
            " (SELECT count(*) FROM etl.chunks AS c WHERE c.run_id = r.run_id),"
            " (SELECT count(*) FROM etl.rejects AS x WHERE x.run_id = r.run_id)"
            " FROM etl.runs AS r JOIN etl.pipelines AS p ON p.name = r.pipeline"
            " LEFT JOIN etl.requests AS q ON q.request_id = r.request_id"
            " WHERE p.name = %s AND p.id = %s AND r.run_id = %s",
            [pipeline, pipeline_id, run_id],
        ).fetchone()
        if row is None:
            return None
        steps = connection.execute(
            "SELECT step, state, tries, began_at, ended_at, result, error FROM etl.steps WHERE run_id = %s"
            " ORDER BY place",
            [run_id],
        ).fetchall()
    *run, asked_by, params, chunks, rejects = row
    tasks = tasks_of_run(connection, run_id)
    return RunDetail(RunRow(*run), asked_by, params, tasks, [StepRow(*step) for step in steps], chunks, rejects)
