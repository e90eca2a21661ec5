"""What the other modes cost beside `replace`, and the ledger beside the rows: `scripts/bench --modes`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.interleaved import Measure, interleaved, print_ratios
from etl_cli.runtime.ledger.chunks import ChunkId, Held, begin_chunk, complete_chunk
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, TaskId
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.sandbox.postgres import PostgresServer

TABLE = "narrow"


def bench_modes(
    sink: PostgresServer,
    product: Callable[[dict[str, Any]], list[str]],
    measure: Measure,
    settle: Callable[[], None],
    pairs: int,
) -> None:
    """Interleaved: replace, upsert of rows of which a tenth differs, sync of rows that are all there."""
    commands = {
        "replace": product({"mode": "replace", "target": "by_replace"}),
        "upsert": [*product({"mode": "upsert", "cursor": "at", "target": "by_upsert"}), "--full"],
        "sync": product({"mode": "sync", "target": "by_sync"}),
    }
    measured = interleaved(commands, measure, settle, pairs, {"upsert": lambda: _differ(sink)})
    print_ratios(measured, "replace", lambda _: "")
    _ledger(sink, statistics.median(one.seconds for one in measured["replace"]))


def _differ(sink: PostgresServer) -> None:
    """Make every tenth row of the target another one than the source's."""
    with sink.connect() as connection:
        connection.execute("UPDATE by_upsert SET note = 'another' WHERE id % 10 = 0")
        connection.execute("VACUUM ANALYZE by_upsert")


def _ledger(sink: PostgresServer, run_s: float) -> None:
    """The same ledger statements as a replace of the table has, without the rows; the median of five times."""
    with sink.connect() as connection:
        row = connection.execute("SELECT count(*) FROM etl.chunks WHERE run_id = 1").fetchone()
        chunks = int(row[0]) if row else 0  # type: ignore[call-overload]
        connection.execute("SET synchronous_commit = off")  # as the connections that load chunks do
        spent = [_ledger_alone(connection, number, chunks) for number in range(5)]
    told = f"{statistics.median(spent):.3f} s alone ({min(spent):.3f}-{max(spent):.3f})"
    print(f"  ledger: {chunks} chunks, {told} = {statistics.median(spent) / run_s:.1%} of replace")


def _ledger_alone(connection: SinkConnection, number: int, chunks: int) -> float:
    ledger = Ledger(connection)
    began = time.perf_counter()
    ledger.register("bench-ledger", "be9c0009")
    run_id = ledger.start_run("bench-ledger", f"x{number}", Request("bench"))
    tasks = [TaskId(run_id, "dbo.narrow", f"shard{n}") for n in range(1, 5)]
    ledger.add_tasks([NewTask(task, "narrow", "replace", {}, None) for task in tasks])
    for task in tasks:
        ledger.task_started(task)
    for place in range(chunks):
        chunk = ChunkId(tasks[place % 4], 0, str(place), place)
        with connection.transaction():
            begin_chunk(connection, chunk, 1)
            complete_chunk(connection, chunk, 1, '["1"]', Held(1, 1, 1))
    ledger.finish_run(run_id, "succeeded")
    return time.perf_counter() - began
