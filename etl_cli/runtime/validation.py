"""Compares what was read with what the source counts and sums, and that with what lies in the sink.

A stream that loads chunk by chunk is validated at its own end, rows in a shadow once all shards are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from psycopg import sql

from etl_cli.runtime.checksums import Sums, added, as_sums, can_be_summed, differing, select_sink, select_source
from etl_cli.runtime.errors import InvalidError
from etl_cli.runtime.job import SNAPSHOT, Job
from etl_cli.runtime.ledger.chunks import Held, checksums_of
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.source.scan import count_rows
from etl_cli.runtime.stopwatch import Stopwatch
from etl_cli.runtime.window import Window

if TYPE_CHECKING:  # it brings Arrow, which the run's own process needs not
    from etl_cli.runtime.extract import Cursor


@dataclass(frozen=True)
class Before:
    """What the source said of a window's rows before they were read; None = it was not asked."""

    window: Window
    rows: int | None
    sums: Sums | None


class StreamValidation:
    """Asks one stream's source before and after each part is read.

    What it finds is for the stream's result: `counted` (None = not asked, or written meanwhile), `checksums`
    that the run has yet to compare, and `notes`.
    """

    def __init__(self, job: Job, stopwatch: Stopwatch) -> None:
        self._job = job
        self._plan = job.plan.reading
        self._stopwatch = stopwatch
        self.counted: int | None = None
        self.checksums: Sums | None = None
        self.notes: list[str] = []

    def count(self, cursor: Cursor, window: Window) -> int | None:
        """The rows of the window as the source has them now. Raises SourceError."""
        if self._plan.validate == "none":
            return None
        with self._stopwatch.reading():
            return int(cursor.ask(count_rows(self._plan, window))[0])

    def sums_before(self, cursor: Cursor) -> Sums | None:
        """The sums where the source may be written meanwhile: they are asked twice. Raises SourceError."""
        asked_twice = self._job.isolation != SNAPSHOT and can_be_summed(self._plan)
        return self._source_sums(cursor) if asked_twice else None

    def count_again(self, cursor: Cursor, rows_read: int) -> None:
        """Of rows that an earlier attempt has read and not validated: what the source has now. Raises SourceError."""
        now = self.count(cursor, self._job.window)
        if now == rows_read:
            self.counted = now
        elif now is not None:
            self.notes.append(f"{rows_read} rows were read before, the source has {now} now")
        if self._plan.validate == "checksums":
            self.notes.append("rows were read by an earlier try: checksums were not compared")

    def validate(
        self, cursor: Cursor, sink: SinkConnection, before: Before, read: int, held: Held, *, parts: int
    ) -> None:
        """Compare, at the end of a part that `read` so many rows; `held` is the stream's, of all its `parts`.

        In one snapshot both must be equal. Otherwise the source is asked again: a count that has
        changed proves a writer, one that has not proves a loss. Raises InvalidError, SourceError.
        """
        written = self._was_written(cursor, before, read)
        if parts > 1 and self._plan.validate != "none":
            written = self._was_written_between(cursor, held.rows_read) or written
        self.counted = None if written else held.rows_read
        if can_be_summed(self._plan):
            self._compare_sums(cursor, sink, before, held, written)
        elif self._plan.validate == "checksums":
            self.notes.append("no column can be summed: checksums were not compared")

    def _was_written(self, cursor: Cursor, before: Before, read: int) -> bool:
        """Whether the source was written while the part was read, or may have been. Raises InvalidError."""
        if before.rows is None or before.rows == read:
            return before.rows is None
        after = before.rows if self._job.isolation == SNAPSHOT else self.count(cursor, before.window)
        if after != before.rows:
            self.notes.append(
                f"the source was written meanwhile ({before.rows} rows before, {after} after, {read} read)"
            )
            return True
        raise InvalidError(
            f"{self._plan.source} of {self._job.shard.name}: the source counts {before.rows} rows, {read} were read",
            "run again, and look at the source if it happens twice",
        )

    def _was_written_between(self, cursor: Cursor, rows_read: int) -> bool:
        """Whether the parts together are not what the source has now: each was read as of its own beginning."""
        in_all = self.count(cursor, self._job.window)
        if in_all == rows_read:
            return False
        self.notes.append(f"the source was written between the parts ({rows_read} rows read, {in_all} are there now)")
        return True

    def _compare_sums(self, cursor: Cursor, sink: SinkConnection, before: Before, held: Held, written: bool) -> None:
        sums = self._source_sums(cursor)
        if written or (before.sums is not None and before.sums != sums):
            self.notes.append("the source was written meanwhile: checksums were not compared")
        elif held.rejected:
            self.notes.append("rows were rejected: checksums were not compared")
        elif not self._job.destination.is_staged:
            self.checksums = sums  # compared by the run, over all streams and shards of the table
        else:
            kept = map(_from_ledger, checksums_of(sink, self._job.task, self._job.stream))
            _refuse_differing(
                f"{self._plan.source} of {self._job.shard.name}",
                sums,
                reduce(added, kept, {}),
                "look at these columns in both, and run again with --full (a resumed run may have met a writer)",
            )

    def _source_sums(self, cursor: Cursor) -> Sums:
        with self._stopwatch.reading():
            return as_sums(self._plan, cursor.ask(select_source(self._plan, self._job.window)))


def validate_shadow(
    connection: SinkConnection, plan: TablePlan, shadow: Shadow, told: Mapping[str, Mapping[str, Any] | None]
) -> str:
    """Compare what the source summed with what lies in the shadow: by shard where rows tell theirs, else in all.

    `told` has the sums of each shard of the run as `TaskRun.checksums` has them, None where there are none. Gives
    a note where they cannot be compared, else "". Raises InvalidError.
    """
    sums = {shard: _from_ledger(kept) for shard, kept in told.items() if kept is not None}
    if plan.validate != "checksums" or not sums:
        return ""
    if not plan.shard_column and len(sums) < len(told):
        return "checksums were not compared: not every shard has them"
    source = sums if plan.shard_column else {"": reduce(added, sums.values())}
    sink = _shadow_sums(connection, plan, shadow)
    for shard, summed in source.items():
        _refuse_differing(
            f"{plan.source}{f' of {shard}' if shard else ''}",
            summed,
            sink.get(shard, {}),
            "look at these columns in both, and run again (a resumed run may have met a writer of the source)",
            ": nothing was changed",
        )
    return ""


def _shadow_sums(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> dict[str, Sums]:
    """By shard; where rows have no shard column, of all rows under ""."""
    group = plan.shard_column or ""
    rows = connection.execute(sql.SQL(select_sink(plan, shadow.quoted, group))).fetchall()
    return {row[0]: as_sums(plan, row[1:]) for row in rows} if group else {"": as_sums(plan, rows[0])}


def _refuse_differing(whose: str, source: Sums, sink: Sums, remedy: str, consequence: str = "") -> None:
    wrong = differing(source, sink)
    if wrong:
        listed = ", ".join(wrong)
        raise InvalidError(f"{whose}: the checksums of {listed} differ between source and sink{consequence}", remedy)


def _from_ledger(kept: Mapping[str, Any]) -> Sums:
    """JSON has lists, and no tuples."""
    return {column: (int(count), int(total)) for column, (count, total) in kept.items()}
