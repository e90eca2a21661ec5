"""What an attempt tells its supervisor while it works: one JSON object a line, over a pipe."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from etl_cli.runtime.display.news import News, sums
from etl_cli.runtime.names import placed
from etl_cli.runtime.progress import Progress, Told

REPORT_FD = "ETL_REPORT_FD"
"""The environment variable that names the pipe's number to the child."""

INTERVAL_S = 1.0
SUMS_S = 60.0
"""How often a line of the log says how far a long run is."""


@dataclass(frozen=True)
class Report:
    """How far the attempt is; `state` is that of the run once it has ended.

    `said` is a line for the log, of a `level`, about a `table` and a `shard` where it is about one; `failed` names
    the tasks that failed.
    """

    phase: str
    rows: int = 0
    rows_per_s: float = 0.0
    tasks: int = 0
    done: int = 0
    run_id: int | None = None
    state: str | None = None
    error: str | None = None
    said: str | None = None
    level: str = "info"
    table: str | None = None
    shard: str | None = None
    failed: tuple[str, ...] = ()
    seconds: float | None = None

    def line(self) -> bytes:
        """For the pipe."""
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}).encode() + b"\n"

    @staticmethod
    def of_line(line: bytes) -> Report:
        """The inverse of `line`; keys of a newer program are left out."""
        data: dict[str, Any] = json.loads(line)
        known = {k: v for k, v in data.items() if k in Report.__dataclass_fields__}
        return Report(**{**known, "failed": tuple(known.get("failed", ()))})

    @property
    def status(self) -> str:
        """One line for `systemctl status`."""
        if not self.tasks:
            return self.phase
        return f"{self.phase}: {self.rows:,} rows, {self.rows_per_s:,.0f}/s, {self.done} of {self.tasks} tasks"


class Reporter:
    """Listens to a run's progress and writes reports, at most one a second unless something new is said."""

    def __init__(self, descriptor: int | None = None) -> None:
        named = os.environ.get(REPORT_FD)
        self._descriptor = descriptor if descriptor is not None else int(named) if named else None
        self._news = News()
        self._last = 0.0
        self._last_sums = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Look at the progress; report what is due."""
        now = time.monotonic()
        news = self._news.look(progress)
        if now - self._last_sums >= SUMS_S and progress.phase == "copying":
            self._last_sums = now
            news.append(Told(sums(progress), level="info"))
        if not news and now - self._last < INTERVAL_S:
            return
        self._last = now
        for told in news:
            self.send(_report(progress, told))
        if not news:
            self.send(_report(progress, None))

    def send(self, report: Report) -> None:
        """Write one report; a supervisor that is gone does not matter, the child ends with it."""
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, report.line())
            except OSError:
                self._descriptor = None


def _report(progress: Progress, told: Told | None) -> Report:
    tasks = list(progress.tasks.values())
    now = progress.clock()
    return Report(
        phase=progress.phase,
        rows=sum(task.moved.rows_read for task in tasks),
        rows_per_s=sum(task.rows_per_s(now) for task in tasks if task.state == "running"),
        tasks=len(tasks),
        done=sum(task.state in ("loaded", "applied") for task in tasks),
        run_id=progress.run_id,
        said=told.text if told else None,
        level=told.level if told else "info",
        table=told.table if told else None,
        shard=told.shard if told else None,
    )


def failed_tasks(progress: Progress) -> tuple[str, ...]:
    """`dbo.orders of shard2`, for each task that failed."""
    return tuple(placed(task.table, task.shard) for task in progress.tasks.values() if task.state == "failed")
