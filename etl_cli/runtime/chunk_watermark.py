"""The watermark that the chunks of a stream move, each in the transaction that commits its rows."""

from __future__ import annotations

import json

from etl_cli.runtime.job import Job
from etl_cli.runtime.ledger.watermarks import move_watermark, own_watermark
from etl_cli.runtime.lookback import is_higher
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.source.position import Position, columns_of


class ChunkWatermark:
    """Of one stream; does nothing where the job has no watermark."""

    def __init__(self, job: Job) -> None:
        self._move = job.watermark
        self._plan = job.plan.reading
        self._run_id = job.task.run_id
        self._goes_along_the_key = bool(job.window.after)
        self._position = job.watermark.before if job.watermark else None

    def find(self, connection: SinkConnection) -> None:
        """Find it where the run's committed chunks have left it. Raises psycopg.Error."""
        if self._move is not None:
            self._position = own_watermark(connection, self._move.id, self._run_id) or self._move.before

    def settle(self, connection: SinkConnection, last_key: str | None) -> None:
        """Within the chunk's transaction, once its rows are at their place: move it. Raises DataError.

        `last_key` is the position of the chunk's last row as JSON, None where rows have no order.
        """
        move, position = self._move, self._next(tuple(json.loads(last_key or "[]")))
        if move is not None and position is not None:
            before, run_id = self._position, self._run_id
            move_watermark(connection, move.id, move.cursor, position, scope=move.scope, before=before, run_id=run_id)

    def committed(self, position: Position) -> None:
        """The chunk that ends at `position` is committed: it is where `settle` has moved it."""
        self._position = self._next(position) or self._position

    def _next(self, position: Position) -> Position | None:
        """Where it goes with a chunk that ends at `position`; None where it stays.

        A lookback and a full read begin below it; at its own value only a read that began there moves it.
        """
        if self._move is None or not position:
            return None
        if self._position is None:
            return position
        cursor, now = columns_of(self._plan)[0], self._position[0]
        if is_higher(cursor, position[0], now):
            return position
        goes_along_the_key = self._goes_along_the_key and not is_higher(cursor, now, position[0])
        return position if goes_along_the_key else None
