"""What the tables of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etl_cli.runtime.plan import TablePlan


@dataclass(frozen=True)
class RunFacts:
    """What the tables of a run share; `shards` counts those of the pipeline, also where the run takes only some.

    With `by_condition` the run reads only rows that meet a condition of its own: they say nothing of the rows
    below them, so no watermark moves.
    """

    run_id: int
    attempt: int
    pipeline: str
    shards: int
    streams: int
    by_condition: bool
    program: Path | None = None
    """The pipeline's directory, where the workers find its etl.py."""
    hears_batches: bool = False
    """Whether etl.py has hooks for batches."""
    written: frozenset[str] = frozenset()
    """The tables whose rows own writers of etl.py take as well."""

    def is_programmed(self, plan: TablePlan) -> bool:
        """Whether the workers that copy a table need its etl.py."""
        return bool(plan.reads) or self.hears_batches or plan.source in self.written

    @property
    def application(self) -> str:
        """How the run's sessions in the sink are named: whoever comes later ends them by it."""
        return f"etl-cli {self.pipeline} run {self.run_id}"
