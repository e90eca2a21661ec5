"""The commands of one pipeline, as `etl-cli VERB NAME` and as `python etl.py VERB`.

Each parses, calls one function and prints. They are declared once: `add_commands` binds them to a
directory, or leaves the pipeline's name as their first argument.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl_cli.runtime.command_line import (
    PROGRAM,
    AsJson,
    Debug,
    Name,
    Params,
    bound,
    console,
    parameters_in,
    pipeline_at,
    print_json,
)
from etl_cli.runtime.state_commands import state_commands

if TYPE_CHECKING:
    from etl_cli.runtime.request import Request


def add_commands(app: typer.Typer, directory: Path | None = None) -> None:
    """Add the commands to `app`, for the pipeline in `directory` or for one named on the command line."""
    for command in (check, plan, run, serve):
        app.command()(bound(command, directory))
    app.add_typer(state_commands(directory), name="state")


def check(name: Name, as_json: AsJson = False, debug: Debug = False) -> None:
    """Try everything that a run needs, and list every problem with its remedy."""
    with pipeline_at(name, debug) as directory:
        _check(directory, as_json)


def plan(
    name: Name,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the CREATE TABLE statements.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a run would do: tasks, modes, keys, columns and their types."""
    with pipeline_at(name, debug) as directory:
        _plan(directory, ddl, as_json)


def run(
    name: Name,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last run was stopped or failed.")] = False,
    table: Annotated[list[str] | None, typer.Option(help="Only this source table; may be repeated.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only this shard; may be repeated.")] = None,
    step: Annotated[list[str] | None, typer.Option(help="Only this step; may be repeated.")] = None,
    member: Annotated[list[str] | None, typer.Option(help="Only this member of own sources; may be repeated.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything, whatever the watermarks say.")] = False,
    where: Annotated[str | None, typer.Option(help="Only rows that meet this condition of the source.")] = None,
    param: Params = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run once, in the foreground, with progress."""
    from etl_cli.runtime.request import Request

    with pipeline_at(name, debug) as directory:
        given = parameters_in(param or [])
        request = Request(
            resume=resume,
            tables=table or (),
            shards=shard or (),
            steps=step or (),
            members=member or (),
            full=full,
            where=where,
            params=given,
        )
        request.refuse_contradictions()
        _run(directory, request, as_json)


def serve(name: Name, debug: Debug = False) -> None:
    """Keep the schedule of config.yaml, in the foreground, as the service does."""
    with pipeline_at(name, debug) as directory:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "etl_cli.runtime", "serve", str(directory)])


def _check(directory: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from etl_cli.runtime.check import check

    findings = check(directory)
    problems = [finding for finding in findings if finding.status == "problem"]
    if as_json:
        print_json({"ready": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        from etl_cli.runtime.display.reports import print_findings

        print_findings(console(), findings)
    if problems:
        raise typer.Exit(2 if problems[0].area == "configuration" else 1)


def _plan(directory: Path, ddl: bool, as_json: bool) -> None:
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.plan_program import declared_of
    from etl_cli.runtime.planning import resolve_or_refuse, sink_of
    from etl_cli.runtime.sink.connect import connect_sink
    from etl_cli.runtime.sink.ddl import script

    config = load_config(directory)
    with connect_sink(sink_of(config), f"etl-cli {config.name} plan") as connection:
        resolved, _ = resolve_or_refuse(config, connection)
    if ddl:
        print("\n".join(script(table) for table in resolved.plan.tables), end="")
        return
    from etl_cli.runtime.display.reports import plan_as_json, print_plan

    declared, schema = declared_of(config), config.sink.schema_
    if as_json:
        print_json(plan_as_json(resolved, declared, schema))
    else:
        print_plan(console(), resolved, declared, schema)


def _run(directory: Path, request: Request, as_json: bool) -> None:
    from contextlib import nullcontext

    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.display.lines import LineDisplay
    from etl_cli.runtime.display.live import LiveDisplay
    from etl_cli.runtime.display.summary import as_json as data_of
    from etl_cli.runtime.display.summary import print_summary
    from etl_cli.runtime.outcome import RunFailedError
    from etl_cli.runtime.progress import Progress
    from etl_cli.runtime.run import run_pipeline

    config = load_config(directory)
    terminal = console()
    progress = Progress()
    live = terminal.is_terminal and not as_json
    if not live and not as_json:
        progress.listen = LineDisplay()
    error = None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stop is told like Ctrl-C: rolled back, recorded
    with LiveDisplay(terminal, progress) if live else nullcontext():
        try:
            outcome = run_pipeline(config, progress, request)
        except RunFailedError as failed:
            outcome, error = failed.outcome, failed
        except KeyboardInterrupt:
            if progress.run_id is not None and not request.is_partial:
                told = f"`{PROGRAM[0]} run {directory.name} --resume` goes on after its last chunk"
                print(f"run {progress.run_id} was interrupted: {told}", file=sys.stderr)
            raise
    if as_json:
        print_json(data_of(outcome))
    else:
        print_summary(terminal, outcome)
    if error is not None:
        raise error
