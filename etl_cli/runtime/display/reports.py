"""How a check and a plan look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from etl_cli.runtime.check import Finding
from etl_cli.runtime.display.figures import count
from etl_cli.runtime.ledger.watermarks import Watermark
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.planning import Resolved
from etl_cli.runtime.program.declared import Declared
from etl_cli.runtime.program.sources import Source

_MARKS = {"ok": "[green]ok[/]     ", "note": "[yellow]note[/]   ", "problem": "[bold red]problem[/]"}


def print_findings(console: Console, findings: list[Finding]) -> None:
    """A line for each finding, and the sum."""
    for finding in findings:
        text = escape(f"{finding.area}: {finding.text}")
        console.print(f"{_MARKS[finding.status]} {text}", highlight=False, soft_wrap=True)
    problems = sum(finding.status == "problem" for finding in findings)
    if problems:
        console.print(f"[bold red]{problems} problem{'s' if problems > 1 else ''}[/]", highlight=False)
    else:
        console.print("[bold green]ready to run[/]", highlight=False)


def print_plan(console: Console, resolved: Resolved, declared: Declared, schema: str) -> None:
    """Tasks, modes, keys, and each column with both types; then the steps, where etl.py declares some.

    `schema` is the sink's, for the targets of own sources.
    """
    for table, apply in ((t.plan, t.apply) for t in resolved.tables):
        estimate = ", ".join(f"{shard} {count(rows)}" for shard, rows in table.row_estimates.items())
        console.print(f"[bold]{escape(table.source)}[/] -> [bold]{escape(table.target)}[/]", highlight=False)
        facts = {
            "mode": f"{table.mode}, by {apply.how} ({apply.why})",
            "key": ", ".join(table.key) or "none",
            "scan": f"ordered by {', '.join(table.order)}" if table.order else "unordered, one chunk a shard",
            "chunk": f"{table.chunk_rows:,} rows or {table.chunk_bytes / 1e6:,.0f} MB",
            "where": table.where or "all rows",
            "rows": f"about {estimate}",
        }
        for name, value in facts.items():
            console.print(f"  {name:6} {escape(value)}", highlight=False, soft_wrap=True)
        console.print(_columns(table))
    for step in declared.graph().nodes if declared.steps else ():
        after = f" after {', '.join(sorted(step.needs))}" if step.needs else ""
        console.print(f"step [bold]{escape(step.name)}[/]{escape(after)}", highlight=False, soft_wrap=True)
        if step.name in declared.sources:
            for name, value in source_facts(declared.sources[step.name], schema).items():
                console.print(f"  {name:6} {escape(value)}", highlight=False, soft_wrap=True)
    for note in resolved.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)


def source_facts(source: Source, schema: str) -> dict[str, str]:
    """What is known of an own source before it yields: its columns are those of its rows."""
    facts = {"target": ".".join(source.target_name(schema)) if source.to_sink else "own writers only"}
    key = [*source.key, *([source.member_column] if source.key and source.member_column else [])]
    facts |= {"mode": source.mode, "key": ", ".join(key) or "none"}
    if source.cursor:
        facts["cursor"] = source.cursor
    if isinstance(source.fan_out, str):
        facts["for"] = f"what step {source.fan_out} gives"
    elif callable(source.fan_out):
        facts["for"] = f"what {getattr(source.fan_out, '__name__', 'a function')} gives"
    elif source.fan_out is not None:
        facts["for"] = ", ".join(source.members({}, lambda function: {}))
    return facts


def print_watermarks(console: Console, marks: Sequence[Watermark]) -> None:
    """How far each table of each shard has come."""
    if not marks:
        console.print("no watermarks: no table with a cursor has been copied yet", highlight=False)
        return
    grid = Table(box=None, padding=(0, 1))
    for name in ("table", "shard", "cursor", "value", "moved", "by run"):
        grid.add_column(name, no_wrap=True)
    for mark in marks:
        moved = f"{mark.moved_at:%Y-%m-%d %H:%M:%S}" if mark.moved_at else ""
        by_run = "by hand" if mark.run_id is None else str(mark.run_id)
        grid.add_row(mark.id.source_table, mark.id.shard, mark.cursor, mark.value, moved, by_run)
    console.print(grid)


def plan_as_json(resolved: Resolved, declared: Declared, schema: str) -> dict[str, Any]:
    """The plan as data."""
    steps = declared.graph().nodes if declared.steps else ()
    return {
        "pipeline": resolved.plan.pipeline,
        "shards": list(resolved.plan.shards),
        "notes": resolved.notes,
        "tables": [
            {
                "source": table.source,
                "target": table.target,
                "mode": table.mode,
                "apply": apply.how,
                "why": apply.why,
                "key": list(table.key),
                "order": list(table.order),
                "shard_column": table.shard_column,
                "where": table.where,
                "rows": dict(table.row_estimates),
                "columns": [
                    {
                        "source": column.source,
                        "source_type": column.source_type,
                        "target": column.target,
                        "target_type": column.sink_type,
                        "nullable": column.nullable,
                    }
                    for column in table.columns
                ],
            }
            for table, apply in ((t.plan, t.apply) for t in resolved.tables)
        ],
        "steps": [{"name": step.name, "after": sorted(step.needs)} for step in steps],
        "sources": {name: source_facts(source, schema) for name, source in declared.sources.items()},
    }


def _columns(table: TablePlan) -> Table:
    grid = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("  column", "SQL Server", "", "column", "Postgres", ""):
        grid.add_column(name, no_wrap=True)
    for column in table.columns:
        grid.add_row(
            f"  {escape(column.source)}",
            column.source_type,
            "->",
            escape(column.target),
            column.sink_type,
            "" if column.nullable else "not null",
        )
    if table.shard_column:
        grid.add_row("", "", "->", escape(table.shard_column), "text", "not null")
    return grid
