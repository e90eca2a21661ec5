"""Rows that were left out, recorded in the transaction of the chunk that they were part of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.sink.connect import SinkConnection

_LOCK_CLASS = 0x65746E
"""First key of the advisory locks under which a table's rejects are counted."""


@dataclass(frozen=True)
class Reject:
    """A row that was left out: its key by column, the column at fault where known, and the reason."""

    key: dict[str, str]
    column: str | None
    reason: str

    def __str__(self) -> str:
        named = ", ".join(f"{name} = {value}" for name, value in self.key.items())
        return f"{named or 'a row'}: {f'{self.column}: ' if self.column else ''}{self.reason}"


def record_rejects(connection: SinkConnection, task: TaskId, rejects: Sequence[Reject]) -> int:
    """Write them down; how many the run has left out of the table so far, over all shards that have committed."""
    # shards that reject at the same time count one after the other: each sees what the one before it has committed
    lock = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
    connection.execute(lock, [_LOCK_CLASS, f"{task.run_id} {task.source_table}"])
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO etl.rejects (run_id, source_table, shard, key, column_name, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                [task.run_id, task.source_table, task.shard, json.dumps(r.key), r.column, r.reason.replace("\0", "\\0")]
                for r in rejects
            ],
        )
    row = connection.execute(
        "SELECT count(*) FROM etl.rejects WHERE run_id = %s AND source_table = %s", [task.run_id, task.source_table]
    ).fetchone()
    return int(row[0]) if row else 0
