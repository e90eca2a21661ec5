"""How `manage-pipeline` shows pipelines, runs, schedules and log lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from etl_cli.cli.history_show import run_data, run_text
from etl_cli.runtime.display.figures import count, duration, megabytes, when

if TYPE_CHECKING:
    from etl_cli.runtime.alerts import Delivery
    from etl_cli.runtime.config.model import Config
    from etl_cli.runtime.ledger.history import RunDetail
    from etl_cli.systemd.journal import Entry
    from etl_cli.systemd.overview import Detail, Overview

_COLOURS = {
    "running": "green",
    "succeeded": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "unknown": "yellow",
}


def print_overviews(console: Console, overviews: Sequence[Overview]) -> None:
    """A line for each pipeline, then what could not be told."""
    if not overviews:
        console.print("no pipelines yet: etl-cli generate --name orders", highlight=False)
        return
    grid = _grid("pipeline", "state", "at boot", "last run", "ended", "rows", "next run")
    for one in overviews:
        run = one.last_run
        grid.add_row(
            escape(one.service.name),
            _word(one.state),
            "yes" if one.enabled else "no",
            when(run.attempted_at or run.created_at) if run else "-",
            _word(run.state) if run else "-",
            count(run.rows) if run else "-",
            "[yellow]paused[/]" if one.pause else when(one.next_run),
        )
    console.print(grid)
    concerned: dict[str, list[str]] = {}
    for one in overviews:
        for problem in one.problems:
            concerned.setdefault(problem, []).append(one.service.name)
    for problem, names in concerned.items():
        told = "all pipelines" if 1 < len(names) == len(overviews) else ", ".join(names)
        console.print(f"[yellow]{escape(told)}[/]: {escape(problem)}", highlight=False, soft_wrap=True)


def overview_data(overview: Overview) -> dict[str, Any]:
    """A pipeline of a list as data."""
    return {
        "name": overview.service.name,
        "directory": str(overview.service.directory),
        "unit": overview.service.unit,
        "scope": overview.service.scope,
        "state": overview.state,
        "enabled": overview.enabled,
        "last_run": run_data(overview.last_run) if overview.last_run else None,
        "next_run": overview.next_run,
        "paused": asdict(overview.pause) if overview.pause else None,
        "problems": list(overview.problems),
    }


def print_detail(console: Console, detail: Detail) -> None:
    """All about a pipeline."""
    overview, unit, run = detail.overview, detail.overview.unit, detail.overview.last_run
    facts = {"directory": str(overview.service.directory), "service": f"{overview.service.unit} ({overview.state})"}
    if unit and unit.loaded:
        facts["at boot"] = "starts" if unit.enabled else "does not start"
        facts["says"] = unit.status_text or "-"
        facts["since"] = f"{when(unit.started_at)}, {unit.restarts} restarts by systemd"
    if unit and unit.running:
        facts["uses"] = f"pid {unit.pid}, memory {_memory(unit.memory_bytes)}, CPU {duration(unit.cpu_s)}"
    if detail.config:
        facts["schedule"] = schedule_text(detail.config)
        facts["next runs"] = ", ".join(when(due) for due in detail.next_runs) or "-"
    facts["last run"] = run_text(run) if run else "none known"
    for name, value in facts.items():
        console.print(f"{name:10} {escape(value)}", highlight=False, soft_wrap=True)
    if detail.tasks:
        grid = _grid("table", "shard", "mode", "state", "read", "loaded")
        for task in detail.tasks:
            values = (task.source_table, task.shard, task.mode)
            grid.add_row(*map(escape, values), _word(task.state), count(task.rows_read), count(task.rows_loaded))
        console.print(grid)
    for note in (*overview.problems, *detail.notes):
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)


def detail_data(detail: Detail) -> dict[str, Any]:
    """The same as data."""
    unit = detail.overview.unit
    return {
        **overview_data(detail.overview),
        "service": asdict(unit) if unit else None,
        "schedule": detail.config.model_dump(mode="json")["schedule"] if detail.config else None,
        "timezone": detail.config.timezone if detail.config else None,
        "next_runs": list(detail.next_runs),
        "tasks": [asdict(task) for task in detail.tasks],
        "notes": list(detail.notes),
    }


def print_run(console: Console, detail: RunDetail) -> None:
    """All of one run."""
    run = detail.run
    facts = {
        "run": f"{run.run_id}, {run.state}" + (f", retry of {run.retry_of}" if run.retry_of else ""),
        "asked by": (detail.asked_by or run.requested_by) + (f", slot {when(run.slot)}" if run.slot else ""),
        "host": f"{run.host}, attempt {run.attempt}",
        "began": when(run.attempted_at or run.created_at),
        "ended": f"{when(run.finalized_at)}, after {duration(run.duration_s)}" if run.finalized_at else "-",
        "moved": f"{count(run.rows)} rows, {megabytes(run.bytes)}, {detail.chunks} chunks, {detail.rejects} rejects",
        "params": json.dumps(detail.params, ensure_ascii=False) if detail.params else "",
        "error": run.error or "",
    }
    for name, value in facts.items():
        if value:
            console.print(f"{name:10} {escape(value)}", highlight=False, soft_wrap=True)
    if detail.steps:
        grid = _grid("step", "state", "tries", "took", "result", "error")
        for step in detail.steps:
            took = (step.ended_at - step.began_at).total_seconds() if step.began_at and step.ended_at else None
            result = "" if step.result is None else json.dumps(step.result, ensure_ascii=False)[:60]
            error = (step.error or "").partition("\n")[0]
            values = (str(step.tries), duration(took), escape(result), escape(error))
            grid.add_row(escape(step.step), _word(step.state), *values)
        console.print(grid)
    if detail.tasks:
        grid = _grid("table", "shard", "mode", "state", "read", "loaded", "note")
        for task in detail.tasks:
            named = (task.source_table, task.shard, task.mode)
            told = escape((task.error or task.note or "").partition("\n")[0])
            figures = (count(task.rows_read), count(task.rows_loaded))
            grid.add_row(*map(escape, named), _word(task.state), *figures, told)
        console.print(grid)


def run_detail_data(detail: RunDetail) -> dict[str, Any]:
    """The same as data."""
    return {
        **run_data(detail.run),
        "asked_by": detail.asked_by,
        "params": dict(detail.params),
        "chunks": detail.chunks,
        "rejects": detail.rejects,
        "steps": [asdict(step) for step in detail.steps],
        "tasks": [asdict(task) for task in detail.tasks],
    }


def print_schedule(config: Config, due: Sequence[datetime], said: str) -> None:
    """When it runs, and what the service says to that."""
    print(f"{config.name}: {schedule_text(config)}")
    for moment in due:
        print(f"  next: {when(moment)}")
    if said:
        print(said)


def schedule_data(config: Config, due: Sequence[datetime], said: str) -> dict[str, Any]:
    """The same as data."""
    return {
        "name": config.name,
        "schedule": config.model_dump(mode="json")["schedule"],
        "timezone": config.timezone,
        "next_runs": list(due),
        "service": said or None,
    }


def schedule_text(config: Config) -> str:
    """`0 2 * * *, Europe/Berlin`."""
    if config.schedule is None:
        return "no schedule: runs by hand only"
    entries = [config.schedule] if isinstance(config.schedule, str) else [entry.at for entry in config.schedule]
    return f"{' and '.join(entries)}, time zone {config.timezone}"


def print_deliveries(deliveries: Sequence[Delivery]) -> None:
    """A line for each URL."""
    for one in deliveries:
        print(f"{one.where}: not taken: {one.problem}" if one.problem else f"{one.where}: taken")


def print_entry(entry: Entry, *, as_json: bool) -> None:
    """One event of the journal, a line; shown at once, since somebody may follow."""
    if as_json:
        data = {"at": entry.at.isoformat(), "level": entry.level, "text": entry.text, **entry.fields}
        print(json.dumps(data, ensure_ascii=False), flush=True)
    else:
        print(f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S} {entry.level.upper():7} {entry.text}", flush=True)


def _grid(*columns: str) -> Table:
    grid = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in columns:
        grid.add_column(name, no_wrap=True, justify="right" if name in ("rows", "read", "loaded", "size") else "left")
    return grid


def _word(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state


def _memory(number: int | None) -> str:
    return megabytes(number) if number is not None else "not known"
