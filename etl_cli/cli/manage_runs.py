"""`manage-pipeline`: control of runs, through the ledger and the service that is at work, on whichever host."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_cli.cli.host import pipeline_of_host
from etl_cli.runtime.command_line import AsJson, Debug, Name, Params, console, parameters_in, print_json

if TYPE_CHECKING:
    from etl_cli.runtime.ledger.history import RunRow

PROGRAM = "manage-pipeline"

app = typer.Typer(rich_markup_mode=None)
"""Part of the one in manage.py, which takes these commands as its own."""

Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and end as it did.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number, as `history` shows it.")]


@app.command()
def run(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Read everything, whatever the watermarks say.")] = False,
    table: Annotated[list[str] | None, typer.Option(help="Only this source table; may be repeated.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only this shard; may be repeated.")] = None,
    step: Annotated[list[str] | None, typer.Option(help="Only this step; may be repeated.")] = None,
    member: Annotated[list[str] | None, typer.Option(help="Only this member of own sources; may be repeated.")] = None,
    param: Params = None,
    params: Annotated[Path | None, typer.Option(help="A JSON file of parameters.")] = None,
    wait: Wait = False,
    debug: Debug = False,
) -> None:
    """Run once now, through the service."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import ask_for_run

        given = {**_from_file(params), **parameters_in(param or [])}
        wanted = {"full": full, "tables": table, "shards": shard, "steps": step, "members": member, "params": given}
        arguments = {key: value for key, value in wanted.items() if value}
        _asked(name, directory, ask_for_run(directory, arguments), "a run", wait)


@app.command()
def cancel(name: Name, debug: Debug = False) -> None:
    """End what runs and forget what waits, within seconds and for good: nothing of it is resumed."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import ask_to_cancel

        print(ask_to_cancel(directory))


@app.command()
def retry(
    name: Name,
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="The newest by default.")] = None,
    wait: Wait = False,
    debug: Debug = False,
) -> None:
    """Try a failed run again: its failed tasks and steps only."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import retry_of

        _asked(name, directory, retry_of(directory, run), "a retry", wait)


@app.command()
def resume(name: Name, wait: Wait = False, debug: Debug = False) -> None:
    """Go on with an interrupted run after its last chunk."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import retry_of

        _asked(name, directory, retry_of(directory, None), "a resumption", wait)


@app.command()
def rerun(
    name: Name,
    run: RunId,
    from_: Annotated[str, typer.Option("--from", metavar="STEP", help="The first step that runs again.")],
    wait: Wait = False,
    debug: Debug = False,
) -> None:
    """Run a step and those after it again, with the stored results of the steps before."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import ask_for_run

        request = ask_for_run(directory, {"rerun_of": run, "from_step": from_})
        _asked(name, directory, request, "a rerun", wait)


@app.command()
def pause(name: Name, debug: Debug = False) -> None:
    """Let slots pass, on every host, until `unpause`; they are counted."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import pause_slots

        new = pause_slots(directory)
        print(f"{name} is paused: its slots pass" if new else f"{name} is paused already; nothing was done")


@app.command()
def unpause(name: Name, debug: Debug = False) -> None:
    """Run slots again."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime.asking import unpause_slots

        passed = unpause_slots(directory)
        print(f"{name} was not paused" if passed is None else f"{name} runs its slots again; {passed} have passed")


@app.command()
def history(
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-n", "--limit", min=1, help="The last so many runs.")] = 20,
    status: Annotated[
        str | None, typer.Option(help="Only succeeded, failed, cancelled, interrupted or running ones.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Only those since a time: 2026-01-31.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the pipeline's runs, newest first."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.cli.history_show import print_history, run_data
        from etl_cli.runtime import looking

        runs = looking.history(directory, lines, status, since.astimezone() if since else None)
        if as_json:
            print_json([run_data(run) for run in runs])
        else:
            print_history(runs)


@app.command()
def show(name: Name, run: RunId, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show a run: its steps, tasks, chunks, errors, parameters, and who asked for it."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.cli.manage_show import print_run, run_detail_data
        from etl_cli.runtime import looking

        detail = looking.show_run(directory, run)
        if as_json:
            print_json(run_detail_data(detail))
        else:
            print_run(console(), detail)


@app.command()
def wait(name: Name, run: RunId, debug: Debug = False) -> None:
    """Wait until a run has ended; ends with 0 where it succeeded, else with 1."""
    with pipeline_of_host(PROGRAM, name, debug) as directory:
        from etl_cli.runtime import looking
        from etl_cli.runtime.asking import wait_for_run

        state = wait_for_run(directory, run)
        _print_ended(lambda: looking.show_run(directory, run).run, f"run {run} {state}")
        raise typer.Exit(0 if state == "succeeded" else 1)


def _asked(name: str, directory: Path, request: int, what: str, wait: bool) -> None:
    print(f"asked for {what} (request {request}): `manage-pipeline logs {name} -f` shows what becomes of it")
    if wait:
        from etl_cli.runtime import looking
        from etl_cli.runtime.asking import wait_for

        answer = wait_for(directory, request)
        _print_ended(lambda: looking.run_asked_by(directory, request), answer)
        raise typer.Exit(0 if answer == "succeeded" else 1)
    from etl_cli.runtime.asking import is_taken

    if not is_taken(directory, request):
        print(f"no service has taken it yet; it runs as soon as one is up: manage-pipeline start {name}")


def _print_ended(look: Callable[[], RunRow | None], otherwise: str) -> None:
    """How a run ended and why; its state alone, where the ledger is away at this moment: the exit code is known."""
    from etl_cli.cli.history_show import run_text
    from etl_cli.runtime.errors import EtlError

    try:
        run = look()
    except EtlError:
        run = None
    print(run_text(run) if run else otherwise)


def _from_file(file: Path | None) -> dict[str, Any]:
    """Raises UsageError for a file that is no JSON object."""
    if file is None:
        return {}
    from etl_cli.runtime.errors import UsageError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--params {file}: {error}", "name a file with a JSON object") from None
    if not isinstance(found, dict):
        raise UsageError(f"--params {file} holds no JSON object", 'e.g. {"day": "2026-01-31"}')
    return found
