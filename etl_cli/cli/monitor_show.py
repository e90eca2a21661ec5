"""How `monitor-pipelines` shows pipelines: who needs somebody stands first, and why below the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from etl_cli.monitor.look import Look
from etl_cli.runtime.display.figures import count, duration
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.health import STATES, State

_STYLES: dict[State, str] = {
    "ok": "green",
    "running": "cyan",
    "late": "yellow",
    "failing": "bold red",
    "stalled": "bold red",
    "stopped": "dim",
    "dead": "bold white on red",
}
_WORST_FIRST: tuple[State, ...] = ("dead", "stalled", "failing", "late", "running", "ok", "stopped")
_RIGHT = {"rows", "errors", "CPU", "memory", "restarts"}
_LONGEST_NAME = 26
_FEWEST_ROWS = 5


def looks_text(
    looks: Sequence[Look], problems: Sequence[str], now: datetime | None = None, height: int | None = None
) -> RenderableType:
    """A headline, a line for each pipeline, and for each that needs somebody why and what to do.

    With `height`, as many lines as fit: those that are well give way.
    """
    now = now or datetime.now(UTC)
    if not looks:
        return Text("no pipelines yet: etl-cli generate --name orders")
    ordered = sorted(looks, key=lambda look: (_WORST_FIRST.index(look.health.state), look.name))
    sick = [look for look in ordered if not look.health.is_well]
    told = _reasons(sick, problems)
    fits = len(ordered) if height is None else max(_FEWEST_ROWS, height - 6 - 3 * len(sick) - len(problems))
    parts: list[Text | Table] = [_headline(looks, now), Text(), _table(ordered[:fits], now)]
    if ordered[fits:]:
        parts.append(Text(f"... and {len(ordered) - fits} more", style="dim"))
    if told.row_count:
        parts += [Text(), told]
    return Group(*parts)


def looks_data(looks: Sequence[Look], problems: Sequence[str]) -> dict[str, Any]:
    """The same as data."""
    return {
        "at": datetime.now(UTC),
        "well": all(look.health.is_well for look in looks),
        "pipelines": [_data(look) for look in looks],
        "problems": list(problems),
    }


def watch_looks(console: Console, look: Callable[[], tuple[Sequence[Look], Sequence[str]]], seconds: float) -> None:
    """Redraw until Ctrl-C; what cannot be told now may be at the next look."""
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_watched(console, look, seconds), refresh=True)
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _watched(
    console: Console, look: Callable[[], tuple[Sequence[Look], Sequence[str]]], seconds: float
) -> RenderableType:
    try:
        text = looks_text(*look(), height=console.height)
    except EtlError as error:
        text = Text(str(error), style="bold red")
    return Group(text, Text(), Text(f"every {seconds:g} s, Ctrl-C ends", style="dim"))


def _data(look: Look) -> dict[str, Any]:
    run = look.last_run
    return {
        "name": look.name,
        "directory": str(look.service.directory),
        "unit": look.service.unit,
        **asdict(look.health),
        "last_run": {**asdict(run), "duration_s": run.duration_s} if run else None,
        "next_run": look.next_run,
        "errors_24h": look.errors_24h,
        "cpu_s": look.cpu_s,
        "memory_bytes": look.memory_bytes,
        "restarts": look.restarts,
    }


def _headline(looks: Sequence[Look], now: datetime) -> Text:
    text = Text(f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}  ", style="bold")
    text.append(f"{len(looks)} pipeline{'' if len(looks) == 1 else 's'}: ")
    for number, state in enumerate(state for state in STATES if any(look.health.state == state for look in looks)):
        text.append(", " if number else "")
        text.append(f"{sum(look.health.state == state for look in looks)} {state}", style=_STYLES[state])
    return text


def _table(looks: Sequence[Look], now: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    names = ("pipeline", "health", "last run", "", "rows", "next run", "errors", "CPU", "memory", "restarts")
    for name in names:
        table.add_column(
            name + (" 24 h" if name == "errors" else ""),
            justify="right" if name in _RIGHT else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=_LONGEST_NAME if name == "pipeline" else None,
        )
    for look in looks:
        run = look.last_run
        table.add_row(
            look.name,
            Text(look.health.state, style=_STYLES[look.health.state]),
            _ago(run.attempted_at or run.created_at, now) if run else "-",
            Text(run.state, style="red" if run.state == "failed" else "") if run else "",
            count(run.rows) if run else "-",
            _in(look.next_run, now),
            Text(count(look.errors_24h), style="red" if look.errors_24h else "dim"),
            duration(look.cpu_s),
            f"{look.memory_bytes / 1e6:,.0f} MB" if look.memory_bytes is not None else "-",
            Text(count(look.restarts), style="red" if look.restarts else "dim"),
        )
    return table


def _reasons(sick: Sequence[Look], problems: Sequence[str]) -> Table:
    """Names in a column of their own; a long reason goes on below itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="fold", max_width=_LONGEST_NAME + 14)
    table.add_column(overflow="fold")
    for look in sick:
        health = look.health
        table.add_row(Text(look.name, style=_STYLES[health.state]), Text(health.reason))
        if health.next_step:
            table.add_row("", Text(f"-> {health.next_step}", style="bold"))
    for problem in problems:
        table.add_row(Text("note", style="yellow"), Text(problem))
    return table


def _ago(moment: datetime, now: datetime) -> str:
    seconds = (now - moment).total_seconds()
    return "now" if seconds < 1 else f"{_span(seconds)} ago"


def _in(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "-"
    seconds = (moment - now).total_seconds()
    return "now" if seconds < 1 else f"in {_span(seconds)}"


def _span(seconds: float) -> str:
    """The largest unit of which there are two: `45 s`, `25 min`, `30 h`, `12 d`."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {name}"
    return f"{seconds:.0f} s"
