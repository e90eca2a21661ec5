"""The watermarks of an own source: what its members are given, and how they move."""

from __future__ import annotations

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.job import WatermarkMove
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.ledger.watermarks import Watermark, WatermarkId, move_watermark
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.run_context import RunContext
from etl_cli.runtime.sink.connect import SinkConnection


class OwnMarks:
    """Of one source in one run, as they were when it began."""

    def __init__(self, context: RunContext, source: Source) -> None:
        self._context = context
        self._source = source
        self._scope = source.scope(context.config.sink.schema_)

    def known(self, member: str) -> Watermark | None:
        """Where earlier runs have come to."""
        return self._context.marks.get((self._source.name, member))

    def given(self, member: str) -> str | None:
        """What the function is given; None where everything is read.

        Raises PlanError for a strange one, and where everything would be there twice.
        """
        source, mark, full = self._source, self.known(member), self._context.request.full
        if full and source.moves_by_chunk:
            wrong = f"{source.name}: --full in mode append needs a key, or rows would come twice"
            raise PlanError(wrong, "declare one")
        if mark is None or source.is_shadowed or full:
            return None
        if mark.scope != self._scope:
            raise PlanError(
                f"{TaskId(0, source.name, member).label}: its watermark is one of another target, key or cursor",
                "`etl-cli state reset NAME` reads everything again",
            )
        return mark.value

    def moved_by_chunk(self, member: str) -> WatermarkMove | None:
        """How each chunk moves it, where that keeps rows from coming twice."""
        if not self._source.moves_by_chunk:
            return None
        return WatermarkMove(self._id(member), self._source.cursor or "", self._scope, self._before(member))

    def move(self, connection: SinkConnection, task: TaskId, reached: tuple[str, ...]) -> None:
        """Move it to where a member has come, in the open transaction, unless its chunks have."""
        source, before = self._source, self._before(task.shard)
        if source.is_shadowed or source.moves_by_chunk or not reached or reached == before:
            return
        mark, cursor = self._id(task.shard), source.cursor or ""
        move_watermark(connection, mark, cursor, reached, scope=self._scope, before=before, run_id=task.run_id)

    def _id(self, member: str) -> WatermarkId:
        return WatermarkId(self._context.config.name, self._source.name, member)

    def _before(self, member: str) -> tuple[str, ...] | None:
        mark = self.known(member)
        return mark.position if mark is not None else None
