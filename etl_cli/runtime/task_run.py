"""One task within a run: what its streams read, and what they have told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from etl_cli.runtime.checksums import Sums, added
from etl_cli.runtime.job import Result
from etl_cli.runtime.ledger.ledger import TaskEnd, TaskId
from etl_cli.runtime.ledger.watermarks import Watermark
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.source.position import Position
from etl_cli.runtime.windows import Fixed


@dataclass
class TaskRun:
    """One shard of the table: what its streams read, and what they have told."""

    id: TaskId
    fixed: Fixed
    isolation: str
    state: str = "queued"
    mark: Watermark | None = None
    results: dict[int, Result] = field(default_factory=dict)
    failed: bool = False
    rows: int | None = None
    """Rows read, of a task that an earlier attempt has loaded."""
    checksums: Mapping[str, Any] | None = None

    @property
    def is_done(self) -> bool:
        """Whether all streams have ended well, in this attempt or in an earlier one."""
        return self.state in ("loaded", "applied") or len(self.results) == len(self.fixed.windows)

    @property
    def marked(self) -> Position | None:
        """Where its watermark stood when the run began."""
        return self.mark.position if self.mark else None

    def end(self) -> TaskEnd:
        """What the streams told, together."""
        results = list(self.results.values())
        moved = sum((result.moved for result in results), Moved())
        counted = [result.counted for result in results]
        sums = _added_up(results)
        notes = [*self.fixed.notes, *dict.fromkeys(note for result in results for note in result.notes)]
        notes += moved.notes
        self.rows, self.checksums = moved.rows_read, sums
        return TaskEnd(
            moved,
            None if None in counted else sum(number or 0 for number in counted),
            self.isolation,
            tuple(notes),
            sums,
        )


def _added_up(results: Sequence[Result]) -> Sums | None:
    """The sums of all streams; None where one has none, since those of the others are of a part of the rows."""
    known = [dict(result.checksums) for result in results if result.checksums is not None]
    return reduce(added, known) if known and len(known) == len(results) else None
