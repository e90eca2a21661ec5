"""Progress as a live table on a terminal: a bar for each table and shard."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from etl_cli.runtime.display.figures import count, duration, rate
from etl_cli.runtime.progress import Progress, StepProgress, TaskProgress

_WIDE = 100
"""Columns from which on all figures have room."""

MOST_TOLD = 3
"""How many of the last messages stand below the bars."""

_STYLES = {"loaded": "green", "applied": "green", "failed": "bold red", "cancelled": "yellow", "queued": "dim"}


class LiveDisplay:
    """Redraws itself four times a second while it is open."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._began = progress.clock()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        progress = self._progress
        now = progress.clock()
        headline = Text(f"{progress.phase}  ", style="bold")
        headline.append(duration(now - self._began), style="dim")
        tasks = list(progress.tasks.values())
        steps = [_step(step, now) for step in list(progress.steps.values())]
        if not tasks:
            return Group(headline, *steps)
        rows = sum(task.moved.rows_read for task in tasks)
        speed = sum(task.rows_per_s(now) for task in tasks if task.state == "running")
        headline.append(f"  {count(rows)} rows  {rate(speed)}", style="dim")
        shown, hidden = _that_fit(tasks, self._console.height - 4 - len(steps) - len(progress.told[-MOST_TOLD:]))
        table = Table(box=None, padding=(0, 1), expand=False)
        columns = [column for column in _COLUMNS if column.always or self._console.width >= _WIDE]
        for column in columns:
            table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True)
        for task in shown:
            cells = _row(task, now, bar=20 if self._console.width >= _WIDE else 8)
            table.add_row(*(cells[column.name] for column in columns))
        rest = [Text(f"... and {hidden} more", style="dim")] if hidden else []
        told = [Text(t.text, style="yellow", overflow="ellipsis", no_wrap=True) for t in progress.told[-MOST_TOLD:]]
        return Group(headline, *steps, table, *rest, *told)


def _step(step: StepProgress, now: float) -> Text:
    line = Text(f"step {step.name}: ", no_wrap=True, overflow="ellipsis")
    line.append(step.state, style=_STYLES.get(step.state, "green" if step.state == "succeeded" else ""))
    if step.started is not None:
        line.append(f"  {duration(step.seconds(now))}", style="dim")
    if step.done is not None:
        line.append(f"  {step.done:,g}" + (f" of {step.total:,g}" if step.total else ""), style="dim")
    return line


@dataclass(frozen=True)
class _Column:
    name: str
    right: bool = False
    always: bool = True
    """Also where the terminal is narrow."""


_COLUMNS = (
    _Column("table"),
    _Column("shard"),
    _Column(""),
    _Column("done", right=True),
    _Column("rows", right=True),
    _Column("rows/s", right=True),
    _Column("MB/s", right=True, always=False),
    _Column("left", right=True),
    _Column("waits for", always=False),
)


def _that_fit(tasks: list[TaskProgress], room: int) -> tuple[list[TaskProgress], int]:
    """The tasks to show where not all have room: those at work first."""
    if len(tasks) <= room:
        return tasks, 0
    order = {"failed": 0, "running": 1, "queued": 2, "cancelled": 3, "loaded": 4, "applied": 5}
    chosen = sorted(tasks, key=lambda task: order[task.state])[: max(1, room - 1)]
    return [task for task in tasks if task in chosen], len(tasks) - len(chosen)


def _row(task: TaskProgress, now: float, bar: int) -> dict[str, RenderableType]:
    share = task.share()
    seconds = task.seconds(now)
    running = task.state == "running"
    speed = task.moved.bytes / seconds / 1e6 if seconds > 0 else 0.0
    style = _STYLES.get(task.state, "")
    return {
        "table": Text(task.table, style=style),
        "shard": Text(task.shard, style=style),
        "": ProgressBar(total=1.0, completed=share or 0.0, width=bar, pulse=running and share is None),
        "done": Text("-" if share is None else f"{share:.0%}"),
        "rows": Text(count(task.moved.rows_read)),
        "rows/s": Text(rate(task.rows_per_s(now)) if seconds else "-"),
        "MB/s": Text(f"{speed:.1f}" if seconds else "-"),
        "left": Text(duration(task.seconds_left(now)) if running else task.state, style=style),
        "waits for": Text(task.moved.slower_side if running and task.moved.rows_read else "", style="dim"),
    }
