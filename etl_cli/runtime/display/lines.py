"""Progress as a line now and then, for pipes and the journal."""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from etl_cli.runtime.display.figures import count, duration, megabytes, rate
from etl_cli.runtime.progress import Progress, TaskProgress

INTERVAL_S = 10.0


class LineDisplay:
    """Prints phases and finished tasks when they happen, and the sums every INTERVAL_S seconds."""

    def __init__(self, stream: TextIO | None = None, interval_s: float = INTERVAL_S) -> None:
        self._stream = stream or sys.stdout
        self._interval_s = interval_s
        self._phase = ""
        self._states: dict[tuple[str, str], str] = {}
        self._last = 0.0
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        """Look at the progress; print what is new."""
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._last = progress.clock()
            self._print(progress.phase)
        for text in progress.told[self._told :]:
            self._print(text)
        self._told = len(progress.told)
        for key, task in progress.tasks.items():
            before = self._states.get(key)
            if before != task.state:
                self._states[key] = task.state
                if task.state in ("loaded", "applied", "failed", "cancelled") and before != "loaded":
                    self._print(_finished(task, progress.clock()))
        if progress.clock() - self._last >= self._interval_s:
            self._last = progress.clock()
            self._print(_sums(progress))

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: no reason to end a run
            print(text, file=self._stream, flush=True)


def _finished(task: TaskProgress, now: float) -> str:
    seconds = task.seconds(now)
    figures = f"{count(task.moved.rows_read)} rows in {duration(seconds)}, {rate(task.rows_per_s(now))}"
    return f"{task.table} {task.shard}: {task.state}, {figures}"


def _sums(progress: Progress) -> str:
    now = progress.clock()
    tasks = list(progress.tasks.values())
    rows = sum(task.moved.rows_read for task in tasks)
    speed = sum(task.rows_per_s(now) for task in tasks if task.state == "running")
    expected = [task.expected for task in tasks]
    total = sum(number or 0 for number in expected)
    share = f", {min(1.0, rows / total):.0%} done" if total and None not in expected else ""
    running = [task for task in tasks if task.state == "running"]
    slower = max((t.moved.slower_side for t in running), key=[t.moved.slower_side for t in running].count, default="")
    waits = f", waits for the {slower}" if slower else ""
    size = megabytes(sum(task.moved.bytes for task in tasks))
    done = sum(task.state in ("loaded", "applied") for task in tasks)
    return f"{count(rows)} rows, {size}, {rate(speed)}{share}{waits}, {done} of {len(tasks)} tasks loaded"
