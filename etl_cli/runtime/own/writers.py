"""Hands batches to the own writers of etl.py, and keeps what they give back as the place to go on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import pyarrow as pa

from etl_cli.runtime.errors import EtlError, SinkError
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.program.json_values import refuse_what_json_cannot_hold
from etl_cli.runtime.program.sources import Writer
from etl_cli.runtime.sink.destination import OPERATION


class Reached(TypedDict):
    """How far a writer has come, as the ledger keeps it: what it gave back last, and the run in which it began.

    A failed run is gone on with by a new one; the writer's files are still those of the first.
    """

    run_id: int
    last: Any


class Writers:
    """Those of one stream, or of one member of an own source."""

    def __init__(
        self, writers: Sequence[Writer], task: TaskId, stream: int = 0, columns: Sequence[str] | None = None
    ) -> None:
        self._writers = writers
        self._columns = columns
        """Those that are handed over; None = all. A reader brings more, for its own use."""
        self._task = task
        self._part = "-".join(filter(None, [task.shard, str(stream) if stream else ""]))
        self._reached: dict[str, Reached] = {}

    def begin(self, written: Mapping[str, Reached]) -> None:
        """Go on from what is committed: what was written after it is to be written again."""
        self._reached = dict(written)

    def write(self, batch: pa.RecordBatch) -> dict[str, Reached]:
        """Give a batch to each of them; how far each has come. Raises SinkError, PlanError."""
        if self._writers and self._columns is not None:
            told = [OPERATION] if OPERATION in batch.schema.names else []
            batch = batch.select([*self._columns, *told])
        for writer in self._writers:
            if batch.num_rows:
                self._reached[writer.name] = self._written(writer, batch)
        return dict(self._reached)

    def _written(self, writer: Writer, batch: pa.RecordBatch) -> Reached:
        before = self._reached.get(writer.name) or Reached(run_id=self._task.run_id, last=None)
        given: dict[str, Callable[[], Any]] = {
            "batch": lambda: batch,
            "last": lambda: before["last"],
            "part": lambda: self._part,
            "table": lambda: self._task.source_table,
            "member": lambda: self._task.shard or None,
            "run_id": lambda: before["run_id"],
        }
        try:
            came = writer.function(**{name: given[name]() for name in writer.takes})
        except EtlError:
            raise
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise SinkError(f'{self._task.label}: write failed: "{writer.name}": {told}') from error
        told = f'{self._task.label}: "{writer.name}" gives back'
        refuse_what_json_cannot_hold(came, told, "return the place to go on from, e.g. a file's length, or nothing")
        return Reached(run_id=before["run_id"], last=came)
