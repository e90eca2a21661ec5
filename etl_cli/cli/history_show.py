"""How `manage-pipeline history` shows runs. Without rich, which takes a second for a thousand of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from etl_cli.runtime.display.columns import print_columns
from etl_cli.runtime.display.figures import count, duration, megabytes, when

if TYPE_CHECKING:
    from etl_cli.runtime.ledger.history import RunRow

_CODES = {"running": "32", "succeeded": "32", "failed": "1;31", "interrupted": "33"}


def print_history(runs: Sequence[RunRow]) -> None:
    """A line for each run, the first of its error at the end."""
    if not runs:
        print("no runs yet")
        return
    names = ("run", "state", "began", "took", "rows", "size", "attempt", "by", "host", "error")
    rows = [
        (
            str(run.run_id),
            run.state,
            when(run.attempted_at or run.created_at),
            duration(run.duration_s),
            count(run.rows),
            megabytes(run.bytes),
            str(run.attempt),
            run.requested_by + (f", retry of {run.retry_of}" if run.retry_of else ""),
            run.host,
            (run.error or "").partition("\n")[0],
        )
        for run in runs
    ]
    print_columns(names, rows, right=("rows", "size"), colours=_CODES)


def run_data(run: RunRow) -> dict[str, Any]:
    """A run as data."""
    return {**asdict(run), "duration_s": run.duration_s}


def run_text(run: RunRow) -> str:
    """A run in a line, with the first of its error."""
    ended = f"{run.state} at {when(run.finalized_at)}" if run.finalized_at else run.state
    error = f": {run.error.partition(chr(10))[0]}" if run.error else ""
    return f"run {run.run_id}, {ended}, {count(run.rows)} rows, attempt {run.attempt}{error}"
