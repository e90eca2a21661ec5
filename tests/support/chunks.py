"""Loads chunks into a target as a stream does, without a source."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from etl_cli.runtime.ledger.chunks import ChunkId
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, TaskId
from etl_cli.runtime.load import ChunkLoader
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.destination import OPERATION, Destination, create_keys_table
from etl_cli.runtime.sink.merge import Counts, create_changes_table
from etl_cli.runtime.sink.publish import evolve
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.sink.target import Target, read_target
from etl_cli.runtime.source.scan import OPERATION as SOURCE_OPERATION
from etl_cli.runtime.transform import BatchEncoder, constants_of

SHARDS = ("shard1", "shard2")

_ARROW = {
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "text": pa.large_string(),
    "double precision": pa.float64(),
    "bytea": pa.large_binary(),
    "numeric(10,2)": pa.decimal128(10, 2),
    "timestamp(6) without time zone": pa.timestamp("us"),
}

Rows = Sequence[Sequence[Any]]


def target_of(connection: SinkConnection, plan: TablePlan) -> Target:
    """The plan's target, made where it is not there, with what the plan needs."""
    target = read_target(connection, plan.target_schema, plan.target_name)
    if target is None:
        execute(connection, ddl.create_table(plan, plan.target_schema, plan.target_name))
        key = ddl.add_key(plan, plan.target_schema, plan.target_name, ddl.key_name(plan))
        if key:
            execute(connection, key)
        target = read_target(connection, plan.target_schema, plan.target_name)
    assert target is not None
    if plan.track_changes:
        create_changes_table(connection, plan)
    return evolve(connection, plan, target)


class Chunks:
    """A run of pipeline `orders` with one table on two shards; each chunk is one transaction."""

    def __init__(self, connection: SinkConnection, plan: TablePlan, how: Any) -> None:
        ledger = Ledger(connection)
        ledger.register("orders", "7f3a9c1e")
        self.connection = connection
        self.plan = plan
        self.run_id = ledger.start_run("orders", "abc", Request("test"))
        self.tasks = {shard: TaskId(self.run_id, plan.source, shard) for shard in SHARDS}
        ledger.add_tasks([NewTask(task, plan.target, plan.mode, {}, None) for task in self.tasks.values()])
        keys = None
        if plan.shard_column is None and how in ("merge", "changes"):
            keys = Shadow("etl", f"{plan.target_name}__etl_{self.run_id}_0")
            create_keys_table(connection, plan, keys)
        table = Shadow(plan.target_schema, plan.target_name)
        self.destination = Destination(how, table, target_of(connection, plan), keys)
        self._numbers = itertools.count()

    def load(
        self,
        rows: Rows,
        shard: str = "shard1",
        *,
        connection: SinkConnection | None = None,
        before_the_end: Callable[[], object] = lambda: None,
    ) -> Counts:
        """One chunk of these rows; in mode changes each ends with U or D."""
        operation = OPERATION if self.destination.how == "changes" else None
        constants = constants_of(self.plan, shard, self.run_id)
        encoder = BatchEncoder(self.plan, shard, None, constants, operation)
        loader = ChunkLoader(connection or self.connection, self.plan, self.destination, encoder)
        number = next(self._numbers)
        chunk = ChunkId(self.tasks[shard], 0, str(number), number)
        with loader.chunk(chunk, 1) as writer:
            if rows:
                writer.add(self._batch(rows))
            before_the_end()
        return writer.counts

    def _batch(self, rows: Rows) -> pa.RecordBatch:
        names = [column.source for column in self.plan.columns]
        types = [_ARROW[column.sink_type] for column in self.plan.columns]
        if self.destination.how == "changes":
            names.append(SOURCE_OPERATION)
            types.append(pa.string())
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
        return pa.record_batch(arrays, names=names)
