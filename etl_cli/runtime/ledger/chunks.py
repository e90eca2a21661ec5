"""The ledger row of a chunk, written on the connection that loads the chunk's rows.

It goes in first, so that a second attempt at the same chunk meets the first one's row before it
has copied anything, and is completed before the commit.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class ChunkId:
    """A chunk: its task, its stream, and the key after which it begins ('' = the first)."""

    task: TaskId
    stream: int
    after_key: str


def begin_chunk(connection: SinkConnection, chunk: ChunkId, attempt: int) -> None:
    """Claim the chunk within the open transaction. Raises SinkError where another attempt committed it."""
    try:
        connection.execute(
            "INSERT INTO etl.chunks (run_id, source_table, shard, stream, after_key, attempt)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [chunk.task.run_id, chunk.task.source_table, chunk.task.shard, chunk.stream, chunk.after_key, attempt],
        )
    except psycopg.errors.UniqueViolation as error:
        raise SinkError(
            f"{chunk.task.source_table} of {chunk.task.shard}: another attempt has committed this chunk",
            "nothing is lost; let the other attempt finish",
            sqlstate=error.sqlstate,
        ) from error


def complete_chunk(connection: SinkConnection, chunk: ChunkId, last_key: str | None, rows: int, size: int) -> None:
    """Fill in what the chunk holds, just before its commit."""
    connection.execute(
        "UPDATE etl.chunks SET last_key = %s, rows = %s, bytes = %s, committed_at = clock_timestamp()"
        " WHERE (run_id, source_table, shard, stream, after_key) = (%s, %s, %s, %s, %s)",
        [last_key, rows, size, chunk.task.run_id, chunk.task.source_table, chunk.task.shard]
        + [chunk.stream, chunk.after_key],
    )
