"""The way of a stream's batches through the changes that etl.py declares for their table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from etl_cli.runtime.ledger.rejects import Reject
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.program.chain import Chain
from etl_cli.runtime.program.importing import declared_in
from etl_cli.runtime.source.scan import OPERATION


class Passage:
    """Of one stream. `plan` is the table's as it is written; the program is imported in this process."""

    def __init__(self, program: Path, plan: TablePlan, shard: str) -> None:
        self._columns = [column.source for column in plan.reading.columns]
        self._written = [column.source for column in plan.columns]
        self._key = {column.source for column in plan.columns if column.target in plan.key}
        self._chain = Chain(plan.reading, declared_in(program).of_table(plan.source), shard)

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Reject]]:
        """What becomes of a batch, and the rows that were left out as bad; a delete passes as it is."""
        if OPERATION not in batch.schema.names:
            came, rejects = self._chain.apply(batch.select(self._columns))
            return came.select(self._written), rejects
        gone = batch.filter(pc.equal(batch.column(OPERATION), "D"))
        there = batch.filter(pc.not_equal(batch.column(OPERATION), "D"))
        came, rejects = self._chain.apply(there.select(self._columns))
        came = came.select(self._written)
        return pa.concat_batches([self._marked(came, "U"), self._keys_alone(gone, came.schema)]), rejects

    @property
    def note(self) -> str:
        """What the changes took away and added; "" = nothing."""
        told = [f"{self._chain.dropped:,} rows dropped"] if self._chain.dropped else []
        told += [f"{self._chain.added:,} rows added"] if self._chain.added else []
        return f"etl.py: {', '.join(told)}" if told else ""

    def _marked(self, batch: pa.RecordBatch, operation: str) -> pa.RecordBatch:
        return batch.append_column(OPERATION, pa.array([operation] * batch.num_rows, pa.string()))

    def _keys_alone(self, gone: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        arrays = [
            gone.column(field.name) if field.name in self._key else pa.nulls(gone.num_rows, field.type)
            for field in schema
        ]
        return self._marked(pa.RecordBatch.from_arrays(arrays, schema=schema), "D")
