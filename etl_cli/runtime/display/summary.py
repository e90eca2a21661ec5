"""What stands at the end of a run: a table of rows, seconds and rows/s per table and shard, or JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from etl_cli.runtime.display.figures import count, duration, megabytes, rate
from etl_cli.runtime.outcome import Outcome, TableOutcome

_HOW = {"create": "created", "swap": "replaced by swap", "difference": "changed by difference"}


def print_summary(console: Console, outcome: Outcome) -> None:
    """The end of a run, for people."""
    table = Table(box=None, padding=(0, 1))
    for name in ("table", "shard"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "seconds", "rows/s", "MB", "waited for", "state"):
        table.add_column(name, justify="left" if name in ("waited for", "state") else "right", no_wrap=True)
    now = outcome.progress.clock()
    for task in outcome.progress.tasks.values():
        table.add_row(
            Text(task.table),
            Text(task.shard),
            count(task.moved.rows_loaded),
            f"{task.seconds(now):.1f}",
            rate(task.rows_per_s(now)),
            f"{task.moved.bytes / 1e6:,.1f}",
            task.moved.slower_side if task.moved.rows_read else "",
            task.state,
        )
    if outcome.progress.tasks or not outcome.progress.steps:
        console.print(table)
    if outcome.progress.steps:
        console.print(_steps(outcome))
    for ended in outcome.tables:
        console.print(_table_line(ended), highlight=False, soft_wrap=True, markup=False)
        for note in ended.notes:
            console.print(f"  note: {note}", highlight=False, soft_wrap=True, markup=False)
    for note in outcome.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        _last_line(outcome),
        highlight=False,
        soft_wrap=True,
        markup=False,
        style="bold green" if outcome.error is None else "bold red",
    )


def _steps(outcome: Outcome) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in ("step", "state", "seconds", "error"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    now = outcome.progress.clock()
    for step in outcome.progress.steps.values():
        table.add_row(Text(step.name), step.state, f"{step.seconds(now):.1f}", Text(step.error or ""))
    return table


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The same as data."""
    now = outcome.progress.clock()
    return {
        "run": outcome.run_id,
        "attempt": outcome.attempt,
        "state": outcome.state,
        "rows_read": outcome.totals.rows_read,
        "rows_loaded": outcome.totals.rows_loaded,
        "bytes": outcome.totals.bytes,
        "seconds": {name: round(value, 3) for name, value in outcome.seconds.items()},
        "error": str(outcome.error) if outcome.error else None,
        "notes": outcome.notes,
        "told": [told.text for told in outcome.progress.told],
        "tables": [
            {
                "source": ended.source,
                "target": ended.target,
                "how": ended.published.how if ended.published else None,
                "why": ended.published.why if ended.published else None,
                "inserted": changes[0] if changes else None,
                "updated": changes[1] if changes else None,
                "deleted": changes[2] if changes else None,
                "notes": ended.notes,
            }
            for ended in outcome.tables
            for changes in [_changes(ended)]
        ],
        "steps": [
            {"step": step.name, "state": step.state, "seconds": round(step.seconds(now), 3), "error": step.error}
            for step in outcome.progress.steps.values()
        ],
        "tasks": [
            {
                "table": task.table,
                "shard": task.shard,
                "state": task.state,
                "rows_read": task.moved.rows_read,
                "rows_loaded": task.moved.rows_loaded,
                "bytes": task.moved.bytes,
                "seconds": round(task.seconds(now), 3),
                "rows_per_s": round(task.rows_per_s(now)),
                "waited_for": task.moved.slower_side,
                "read_s": round(task.moved.read_s, 3),
                "encode_s": round(task.moved.encode_s, 3),
                "load_s": round(task.moved.load_s, 3),
            }
            for task in outcome.progress.tasks.values()
        ],
    }


def _changes(ended: TableOutcome) -> tuple[int, int, int] | None:
    """Rows inserted, updated and deleted, where they were counted."""
    published, moved = ended.published, ended.moved
    if published is not None:
        return (published.inserted, published.updated, published.deleted) if published.how == "difference" else None
    if moved is None:
        return None
    return moved.rows_inserted, moved.rows_updated, moved.rows_deleted


def _table_line(ended: TableOutcome) -> str:
    changes = _changes(ended)
    if not ended.target:
        return f"{ended.source}: given to own writers alone"
    if changes is None:
        return f"{ended.target}: {_HOW[ended.published.how] if ended.published else 'unchanged'}"
    counts = ", ".join(
        f"{count(number)} {what}" for number, what in zip(changes, ("inserted", "updated", "deleted"), strict=True)
    )
    how = f"{_HOW['difference']} ({ended.published.why})" if ended.published else f"mode {ended.mode}"
    return f"{ended.target}: {how}: {counts}"


def _last_line(outcome: Outcome) -> str:
    seconds = outcome.seconds
    took = seconds.get("steps") or seconds["copy"] + seconds["apply"]
    totals = outcome.totals
    speed = rate(totals.rows_loaded / took) if took > 0 else "-"
    parts = {"plan": seconds["plan"] + seconds.get("start", 0.0)}
    if "steps" in seconds:
        parts |= {"steps": seconds["steps"]}
    else:
        parts |= {"copy": seconds["copy"], "make visible": seconds["apply"]}
    phases = ", ".join(f"{name} {duration(value)}" for name, value in parts.items())
    moved = f"{count(totals.rows_loaded)} rows, {megabytes(totals.bytes)}, {speed}"
    named = f"run {outcome.run_id}" if outcome.run_id is not None else "run"
    return f"{named} {outcome.state}: {moved} ({phases})"
