"""The watermarks of one table of a run, one for each shard: which of them move, when, and where to.

Where one stream reads along the cursor its chunks move the watermark (`chunk_watermark.py`); else it moves at the
end of the task, once all of its streams are done, or with the rows that become visible together.
"""

from __future__ import annotations

from etl_cli.runtime.job import WatermarkMove
from etl_cli.runtime.ledger.watermarks import CHANGES_CURSOR, WatermarkId, move_watermark
from etl_cli.runtime.lookback import is_higher
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.run_facts import RunFacts
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.source.position import Position, columns_of
from etl_cli.runtime.task_run import TaskRun


class TableWatermarks:
    """Moves them within the caller's transaction."""

    def __init__(self, plan: TablePlan, facts: RunFacts) -> None:
        self._plan = plan
        self._facts = facts

    def of_chunks(self, task: TaskRun) -> WatermarkMove | None:
        """What each chunk of the task moves; None where chunks move nothing."""
        if not self._moves_by_chunk(task):
            return None
        return WatermarkMove(self._id(task), self._plan.cursor or "", self._plan.scope, task.marked)

    def move_at_end(self, connection: SinkConnection, task: TaskRun) -> None:
        """After the last chunk of a task whose chunks do not move it. Raises DataError, psycopg.Error."""
        position = self._final_position(task)
        if position is not None:
            cursor = CHANGES_CURSOR if self._plan.mode == "changes" else self._plan.cursor or ""
            self._move(connection, task, cursor, position)

    def begin_changes(self, connection: SinkConnection, task: TaskRun) -> None:
        """With rows that were all read once: from here on mode changes follows. Raises DataError, psycopg.Error."""
        self._move(connection, task, CHANGES_CURSOR, (str(task.fixed.version),))

    def _id(self, task: TaskRun) -> WatermarkId:
        return WatermarkId(self._facts.pipeline, self._plan.source, task.id.shard)

    def _move(self, connection: SinkConnection, task: TaskRun, cursor: str, position: Position) -> None:
        if position != task.marked:
            scope, run_id = self._plan.scope, self._facts.run_id
            move_watermark(connection, self._id(task), cursor, position, scope=scope, before=task.marked, run_id=run_id)

    def _moves_by_chunk(self, task: TaskRun) -> bool:
        """Whether each chunk moves the watermark: one stream reads along the cursor."""
        return self._is_incremental and self._plan.cursor is not None and len(task.fixed.windows) == 1

    @property
    def _is_incremental(self) -> bool:
        """Rows that a condition of this run chose say nothing of the rows below them."""
        return self._plan.incremental and not self._facts.by_condition

    def _final_position(self, task: TaskRun) -> Position | None:
        """Where it goes at the end of the task; None where it stays."""
        if not self._is_incremental or self._moves_by_chunk(task):
            return None
        if self._plan.mode == "changes":
            return (str(task.fixed.version),)
        last = [task.results[n].last_position for n in sorted(task.results) if task.results[n].last_position]
        if not last:
            return None
        cursor = columns_of(self._plan)[0]
        is_back = task.mark is not None and not is_higher(cursor, last[-1][0], task.mark.value)
        return None if is_back else last[-1]
