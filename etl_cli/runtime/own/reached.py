"""How far a member of an own source has come: its position, its cursor's highest value, and its watermark."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.chunks import Committed
from etl_cli.runtime.ledger.watermarks import move_watermark, own_watermark
from etl_cli.runtime.own.columns import Columns
from etl_cli.runtime.own.job import ExtractJob
from etl_cli.runtime.sink.connect import SinkConnection


class PlaceReached:
    """Of one try of a member; it begins with what is committed."""

    def __init__(
        self, job: ExtractJob, cursor: str | None, columns: Columns, connection: SinkConnection, so_far: Committed
    ) -> None:
        self._job = job
        self._label = job.task.label
        self._cursor = cursor
        self._columns = columns
        self._connection = connection
        move = job.move
        self._moved_to = (own_watermark(connection, move.id, job.task.run_id) or move.before) if move else None
        self.position: Any = so_far.last_key[0] if so_far.last_key else None
        self._highest = self._value(so_far.last_key[1]) if so_far.last_key else None
        self.is_over = bool(so_far.last_key[2:])
        """Whether the function has ended, so that another try has nothing to do."""

    def see(self, batch: pa.RecordBatch) -> None:
        """Keep the cursor's highest value. Raises PlanError where no row has it."""
        if self._cursor is None:
            return
        if batch.schema.get_field_index(self._cursor) < 0:
            raise PlanError(f"{self._label}: no row has {self._cursor}, its cursor", "yield it, or correct it")
        highest = pc.max(batch.column(self._cursor)).as_py()
        if highest is not None and (self._highest is None or highest > self._highest):
            self._highest = highest

    @property
    def last_key(self) -> str:
        """As the chunk's ledger row keeps it: position, highest value, and whether the function has ended."""
        told = [self.position, None if self._highest is None else _text(self._highest)]
        return json.dumps([*told, True] if self.is_over else told)

    @property
    def watermark(self) -> Any:
        """Where earlier runs have come to, as the function is given it."""
        if self._job.watermark is None:
            return None
        return self._value(self._job.watermark) if self._cursor else json.loads(self._job.watermark)

    @property
    def reached(self) -> tuple[str, ...]:
        """Where this run has come to, for the watermark; () = nowhere."""
        if self._cursor is None:
            return (json.dumps(self.position),) if self.position is not None else ()
        known = [value for value in (self._highest, self._value(self._job.mark)) if value is not None]
        return (_text(max(known)),) if known else ()

    def settled(self, connection: SinkConnection, last_key: str | None) -> None:
        """Within the chunk's transaction: move the watermark, where only that keeps rows from coming twice."""
        move, reached = self._job.move, self.reached
        if move is None or not reached or reached == self._moved_to:
            return
        before, run_id = self._moved_to, self._job.task.run_id
        move_watermark(connection, move.id, move.cursor, reached, scope=move.scope, before=before, run_id=run_id)
        self._moved_to = reached

    def _value(self, text: str | None) -> Any:
        """A cursor's text as the value that the function yields: its column's type tells."""
        kind = self._columns.kind(self._cursor or "")
        if text is None or kind in (None, "text"):
            return text
        row = self._connection.execute(f"SELECT %s::{kind}".encode(), [text]).fetchone()
        return row[0] if row else None


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
