"""The ledger row of a chunk, written on the connection that loads the chunk's rows.

It goes in first, so that a second attempt at the same chunk meets the first one's row before it
has copied anything, and is completed before the commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.merge import Counts


@dataclass(frozen=True)
class ChunkId:
    """A chunk: its task, its stream, its number there, and the key after which it begins ('' = the first)."""

    task: TaskId
    stream: int
    after_key: str
    number: int = 0


@dataclass(frozen=True)
class Held:
    """What a chunk holds, or several together: rows read and copied, COPY bytes, rows left out, changes."""

    rows_read: int = 0
    rows: int = 0
    bytes: int = 0
    rejected: int = 0
    counts: Counts = field(default_factory=Counts)

    def __add__(self, other: Held) -> Held:
        return Held(
            self.rows_read + other.rows_read,
            self.rows + other.rows,
            self.bytes + other.bytes,
            self.rejected + other.rejected,
            self.counts + other.counts,
        )


@dataclass(frozen=True)
class Committed:
    """How far a stream has come."""

    chunks: int = 0
    last_key: tuple[str, ...] = ()
    held: Held = field(default_factory=Held)
    written: Mapping[str, Any] = field(default_factory=dict)
    """By own writer: what it gave back last."""


class ChunkTakenError(SinkError):
    """The chunk was committed before: by a try whose answer was lost, or by another attempt."""


class SupersededError(SinkError):
    """The attempt was taken for dead, or a later one has begun; this one must not commit any more."""


def is_transient(error: SinkError) -> bool:
    """Whether another try of the chunk may succeed: a lost connection, a lock, a deadlock, a server going down."""
    if isinstance(error, SupersededError):
        return False
    if isinstance(error, ChunkTakenError):
        return True  # the answer to its commit was lost: another try goes on after it
    state = error.sqlstate
    return state is None or state.startswith(("08", "40", "53", "55", "57", "58"))


def begin_chunk(connection: SinkConnection, chunk: ChunkId, attempt: int) -> None:
    """Claim the chunk within the open transaction. Raises ChunkTakenError where it was committed before."""
    try:
        connection.execute(
            "INSERT INTO etl.chunks (run_id, source_table, shard, stream, after_key, number, attempt)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [*_task(chunk.task), chunk.stream, chunk.after_key, chunk.number, attempt],
        )
    except psycopg.errors.UniqueViolation as error:
        raise ChunkTakenError(
            f"{chunk.task.label}: another attempt has committed this chunk",
            "nothing is lost; let the other attempt finish",
            sqlstate=error.sqlstate,
        ) from error


def complete_chunk(
    connection: SinkConnection,
    chunk: ChunkId,
    attempt: int,
    last_key: str | None,
    held: Held,
    checksums: Mapping[str, tuple[int, int]] | None = None,
    written: Mapping[str, Any] | None = None,
) -> None:
    """Fill in what the chunk holds, just before its commit.

    Raises SupersededError where the attempt is not the running one any more.
    """
    refuse_superseded(connection, chunk.task.run_id, attempt)
    connection.execute(
        "UPDATE etl.chunks SET last_key = %s, rows_read = %s, rows = %s, bytes = %s, rows_rejected = %s,"
        " rows_inserted = %s, rows_updated = %s, rows_deleted = %s, checksums = %s, written = %s,"
        " committed_at = clock_timestamp()"
        " WHERE (run_id, source_table, shard, stream, after_key) = (%s, %s, %s, %s, %s)",
        [last_key, held.rows_read, held.rows, held.bytes, held.rejected]
        + [held.counts.inserted, held.counts.updated, held.counts.deleted]
        + [json.dumps(checksums) if checksums else None, json.dumps(written) if written else None]
        + [*_task(chunk.task), chunk.stream, chunk.after_key],
    )


def refuse_superseded(connection: SinkConnection, run_id: int, attempt: int) -> None:
    """Raise SupersededError where the attempt is not the running one any more; else it stays so until the commit.

    A run that was found dead is interrupted, and perhaps resumed: what a process of it that still lives would
    commit comes too late, over what newer runs have read.
    """
    alive = connection.execute(
        "SELECT FROM etl.runs WHERE run_id = %s AND attempt = %s AND state = 'running' FOR SHARE", [run_id, attempt]
    ).fetchone()
    if alive is None:
        raise SupersededError(
            f"attempt {attempt} of run {run_id} was taken for dead, or a later one has begun",
            "nothing of it counts any more, and nothing is lost: run again",
        )


def committed(connection: SinkConnection, task: TaskId, stream: int) -> Committed:
    """How far the stream has come, by whatever attempt. Raises psycopg.Error."""
    row = connection.execute(
        "SELECT count(*), (array_agg(last_key ORDER BY number DESC))[1], coalesce(sum(rows_read), 0)::bigint,"
        " coalesce(sum(rows), 0)::bigint, coalesce(sum(bytes), 0)::bigint, coalesce(sum(rows_rejected), 0)::bigint,"
        " coalesce(sum(rows_inserted), 0)::bigint, coalesce(sum(rows_updated), 0)::bigint,"
        " coalesce(sum(rows_deleted), 0)::bigint,"
        " (array_agg(written ORDER BY number DESC) FILTER (WHERE written IS NOT NULL))[1]"
        " FROM etl.chunks WHERE (run_id, source_table, shard, stream) = (%s, %s, %s, %s)",
        [*_task(task), stream],
    ).fetchone()
    assert row is not None
    chunks, last_key, read, rows, size, rejected, *counts, written = row
    held = Held(read, rows, size, rejected, Counts(*counts))
    return Committed(chunks, tuple(json.loads(last_key or "[]")), held, written or {})


def forget_chunks(connection: SinkConnection, task: TaskId) -> None:
    """Of a task whose rows are removed in the same transaction, because it begins anew."""
    connection.execute(
        "DELETE FROM etl.chunks WHERE (run_id, source_table, shard) = (%s, %s, %s)",
        [task.run_id, task.source_table, task.shard],
    )


def checksums_of(connection: SinkConnection, task: TaskId, stream: int) -> list[dict[str, Any]]:
    """What the stream's chunks summed in their staging tables."""
    rows = connection.execute(
        "SELECT checksums FROM etl.chunks WHERE (run_id, source_table, shard, stream) = (%s, %s, %s, %s)"
        " AND checksums IS NOT NULL",
        [*_task(task), stream],
    ).fetchall()
    return [row[0] for row in rows]


def _task(task: TaskId) -> list[Any]:
    return [task.run_id, task.source_table, task.shard]
