"""How `monitor-pipelines` shows pipelines: who needs somebody stands first, and why below the table."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from etl_cli.monitor.look import Look
from etl_cli.runtime.display.figures import count
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
_COLUMNS = ("pipeline", "health", "last run", "", "rows", "next run", "errors\n24 h", "CPU", "memory", "restarts")
_NARROWER: tuple[tuple[int, set[str]], ...] = (
    (118, set()),
    (92, {"CPU", "memory", "restarts"}),
    (0, {"CPU", "memory", "restarts", "rows"}),
)
"""Below how many columns of the terminal which of the table's are left out."""
_TO_THE_LEFT = {"pipeline", "health", "last run", "", "next run"}
_LONGEST_NAME = 26
_FEWEST_ROWS = 5
_MOST_NAMED = 6


def looks_text(
    console: Console, looks: Sequence[Look], problems: Sequence[str], now: datetime, height: int | None = None
) -> RenderableType:
    """A headline, a line for each pipeline, and for each that needs somebody why and what to do.

    With `height`, as many lines as fit: those that are well give way.
    """
    if not looks:
        return Text("no pipelines yet: etl-cli generate --name orders")
    ordered = sorted(looks, key=lambda look: (_WORST_FIRST.index(look.health.state), look.name))
    told = Group(*_reasons([look for look in ordered if not look.health.is_well], problems))
    fits = len(ordered)
    if height is not None:
        fits = max(_FEWEST_ROWS, height - 8 - len(console.render_lines(told)))
    parts: list[Text | Table | Group] = [_headline(looks, now), Text(), _table(ordered[:fits], now, console.width)]
    if ordered[fits:]:
        parts.append(Text(f"... and {len(ordered) - fits} more", style="dim"))
    return Group(*parts, told)


def looks_data(looks: Sequence[Look], problems: Sequence[str]) -> dict[str, Any]:
    """The same as data."""
    return {
        "at": datetime.now(UTC),
        "well": all(look.health.is_well for look in looks),
        "pipelines": [_data(look) for look in looks],
        "problems": list(problems),
    }


def watch_looks(console: Console, look: Callable[[], tuple[Sequence[Look], Sequence[str]]], seconds: float) -> None:
    """Redraw until Ctrl-C; what cannot be told now may be at the next look.

    It ends also where this process was started with the signal ignored, as a shell starts what runs in its background,
    and where the interrupt strikes within a destructor, which swallows what is raised.
    """
    is_over = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_over
        is_over = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not is_over:
                live.update(_watched(console, look, seconds), refresh=True)
                time.sleep(seconds)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGINT, before)


def _watched(
    console: Console, look: Callable[[], tuple[Sequence[Look], Sequence[str]]], seconds: float
) -> RenderableType:
    try:
        text = looks_text(console, *look(), datetime.now(UTC), console.height)
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


def _table(looks: Sequence[Look], now: datetime, width: int) -> Table:
    left_out = next(names for least, names in _NARROWER if width >= least)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in _COLUMNS:
        if name not in left_out:
            longest = _LONGEST_NAME if name == "pipeline" else None
            side: JustifyMethod = "left" if name in _TO_THE_LEFT else "right"
            table.add_column(name, justify=side, no_wrap=True, vertical="bottom", max_width=longest)
    for look in looks:
        table.add_row(*(cell for name, cell in zip(_COLUMNS, _cells(look, now), strict=True) if name not in left_out))
    return table


def _cells(look: Look, now: datetime) -> tuple[Text, ...]:
    """One for each of _COLUMNS."""
    run, memory = look.last_run, look.memory_bytes
    return (
        Text(look.name, overflow="ellipsis"),
        Text(look.health.state, style=_STYLES[look.health.state]),
        Text(f"{_span((now - (run.attempted_at or run.created_at)).total_seconds())} ago" if run else "-"),
        Text(run.state if run else "", style="red" if run and run.state == "failed" else ""),
        Text(count(run.rows) if run else "-"),
        Text(f"in {_span((look.next_run - now).total_seconds())}" if look.next_run else "-"),
        Text(count(look.errors_24h), style="red" if look.errors_24h else "dim"),
        Text(_span(look.cpu_s) if look.cpu_s is not None else "-"),
        Text(f"{memory / 1e6:,.0f} MB" if memory is not None else "-"),
        Text(count(look.restarts), style="red" if look.restarts else "dim"),
    )


def _reasons(sick: Sequence[Look], problems: Sequence[str]) -> Iterator[RenderableType]:
    """One sink that is down ails forty pipelines: what has one reason is told once."""
    by_reason: dict[tuple[State, str], list[Look]] = {}
    for look in sick:
        by_reason.setdefault((look.health.state, look.health.reason), []).append(look)
    for (state, reason), looks in by_reason.items():
        yield Text()
        yield Text.assemble((_named(looks), "bold"), " is " if len(looks) == 1 else " are ", (state, _STYLES[state]))
        yield Padding(Text(reason), (0, 0, 0, 2), expand=False)
        if looks[0].health.next_step:
            yield Padding(Text(f"-> {looks[0].health.next_step}", style="bold"), (0, 0, 0, 2), expand=False)
    if problems:
        yield Text()
    for problem in problems:
        yield Text.assemble(("note", "yellow"), f": {problem}")


def _named(looks: Sequence[Look]) -> str:
    names = ", ".join(look.name for look in looks[:_MOST_NAMED])
    return names + (f" and {len(looks) - _MOST_NAMED} more" if len(looks) > _MOST_NAMED else "")


def _span(seconds: float) -> str:
    """In the largest unit of which there are two: `45s`, `25m`, `30h`, `12d`."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{name}"
    return f"{max(0, seconds):.0f}s"
