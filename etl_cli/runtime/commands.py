"""The commands of one pipeline, as `etl-cli VERB NAME` and as `python etl.py VERB`.

Each parses, calls one function and prints. They are declared once: `add_commands` binds them to a
directory, or leaves the pipeline's name as their first argument.
"""

# no `from __future__ import annotations` here: typer reads the annotations, which name local objects
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.runtime.locate import find_pipeline

if TYPE_CHECKING:
    from rich.console import Console

    from etl_cli.runtime.request import Request

WIDTH_IN_A_PIPE = 240
PROGRAM = ["etl-cli"]
"""How the program is named in front of an error; a command of another name puts its own."""

AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the run; may be repeated.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def add_commands(app: typer.Typer, directory: Path | None = None) -> None:
    """Add the commands to `app`, for the pipeline in `directory` or for one named on the command line."""
    named = directory is None
    argument: Any = (
        typer.Argument(metavar="NAME", help="The pipeline's name, or the path of its directory.")
        if named
        else typer.Option("--directory", hidden=True)
    )
    default: Any = ... if named else str(directory)

    @app.command()
    def check(name: Annotated[str, argument] = default, as_json: AsJson = False, debug: Debug = False) -> None:
        """Try everything that a run needs, and list every problem with its remedy."""
        with pipeline_at(name, debug) as place:
            _check(place, as_json)

    @app.command()
    def plan(
        name: Annotated[str, argument] = default,
        ddl: Annotated[bool, typer.Option("--ddl", help="Print the CREATE TABLE statements.")] = False,
        as_json: AsJson = False,
        debug: Debug = False,
    ) -> None:
        """Show what a run would do: tasks, modes, keys, columns and their types."""
        with pipeline_at(name, debug) as place:
            _plan(place, ddl, as_json)

    @app.command()
    def run(
        name: Annotated[str, argument] = default,
        resume: Annotated[
            bool, typer.Option("--resume", help="Go on where the last run was stopped or failed.")
        ] = False,
        table: Annotated[list[str] | None, typer.Option(help="Only this source table; may be repeated.")] = None,
        shard: Annotated[list[str] | None, typer.Option(help="Only this shard; may be repeated.")] = None,
        full: Annotated[bool, typer.Option("--full", help="Read everything, whatever the watermarks say.")] = False,
        where: Annotated[str | None, typer.Option(help="Only rows that meet this condition of the source.")] = None,
        param: Params = None,
        as_json: AsJson = False,
        debug: Debug = False,
    ) -> None:
        """Run once, in the foreground, with progress."""
        from etl_cli.runtime.request import Request

        with pipeline_at(name, debug) as place:
            given = parameters_in(param or [])
            request = Request(
                resume=resume, tables=table or (), shards=shard or (), full=full, where=where, params=given
            )
            request.refuse_contradictions()
            _run(place, request, as_json)

    @app.command()
    def serve(name: Annotated[str, argument] = default, debug: Debug = False) -> None:
        """Keep the schedule of config.yaml, in the foreground, as the service does."""
        with pipeline_at(name, debug) as place:
            os.execv(sys.executable, [sys.executable, "-P", "-m", "etl_cli.runtime", "serve", str(place)])

    state = typer.Typer(
        help="Show, set and forget watermarks: how far append, upsert and changes have come.", no_args_is_help=True
    )
    app.add_typer(state, name="state")

    @state.command("show")
    def state_show(name: Annotated[str, argument] = default, as_json: AsJson = False, debug: Debug = False) -> None:
        """Show the watermark of every table and shard."""
        with pipeline_at(name, debug) as place:
            _state_show(place, as_json)

    @state.command("set")
    def state_set(
        name: Annotated[str, argument] = default,
        value: Annotated[str, typer.Option(help="The cursor's value, as the source writes it.")] = ...,  # type: ignore[assignment]
        table: Annotated[str, typer.Option(help="The source table.")] = ...,  # type: ignore[assignment]
        shard: Annotated[list[str] | None, typer.Option(help="Only this shard; may be repeated.")] = None,
        yes: Yes = False,
        debug: Debug = False,
    ) -> None:
        """Put watermarks at a value: the next run reads the rows above it."""
        with pipeline_at(name, debug) as place:
            _state_set(place, table, shard or [], value, yes)

    @state.command("reset")
    def state_reset(
        name: Annotated[str, argument] = default,
        table: Annotated[str | None, typer.Option(help="Only this source table.")] = None,
        shard: Annotated[list[str] | None, typer.Option(help="Only this shard; may be repeated.")] = None,
        yes: Yes = False,
        debug: Debug = False,
    ) -> None:
        """Forget watermarks: the next run reads everything."""
        with pipeline_at(name, debug) as place:
            _state_reset(place, table, shard or [], yes)


def parameters_in(given: list[str]) -> dict[str, Any]:
    """`["day=2026-01-31", "limit=10"]` as a mapping: a value that is JSON is read as such, else it is text.

    Raises UsageError for one without `=`.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--param {text}: not NAME=VALUE", "e.g. --param day=2026-01-31")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@contextmanager
def errors_as_lines(debug: bool, directory: Path | None = None) -> Iterator[None]:
    """Show an error as one line and end with its exit code; passwords are taken out of whatever is shown."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the locale cannot write must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except EtlError as error:
        _fail(str(error), error.exit_code, debug, directory)
    except KeyboardInterrupt:
        _fail("interrupted", 130, False, directory)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except (typer.Exit, typer.Abort, SystemExit):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}: this is a fault of etl-cli; --debug shows where"
        _fail(told, 1, debug, directory)


@contextmanager
def pipeline_at(name: str, debug: bool) -> Iterator[Path]:
    """The directory of the named pipeline, with errors shown as lines."""
    with errors_as_lines(debug):
        directory = find_pipeline(name)
    with errors_as_lines(debug, directory):
        yield directory


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

    if as_json:
        print_json(plan_as_json(resolved))
        return
    print_plan(console(), resolved)


def _state_show(directory: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.display.reports import print_watermarks
    from etl_cli.runtime.state import watermarks

    marks = watermarks(load_config(directory))
    if as_json:
        print_json([asdict(mark) for mark in marks])
    else:
        print_watermarks(console(), marks)


def _state_set(directory: Path, table: str, shards: list[str], value: str, yes: bool) -> None:
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.state import chosen_for_setting, put

    config = load_config(directory)
    chosen = chosen_for_setting(config, table, shards)
    names = ", ".join(mark.shard for mark in chosen)
    confirm(f"Put the watermark of {chosen[0].source_table} of {names} at {value}?", yes)
    put(config, chosen, value)
    print(f"{len(chosen)} watermark{'s' if len(chosen) > 1 else ''} set: the next run reads what is above {value}")


def _state_reset(directory: Path, table: str | None, shards: list[str], yes: bool) -> None:
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.state import chosen_for_reset, forget

    config = load_config(directory)
    chosen = chosen_for_reset(config, table, shards)
    for mark in chosen:
        print(f"{mark.id.source_table} of {mark.id.shard}: {mark.cursor} {mark.value}")
    confirm("Forget these watermarks? The next run reads everything.", yes)
    forget(config, chosen)
    print(f"{len(chosen)} watermark{'s' if len(chosen) > 1 else ''} forgotten")


def confirm(question: str, yes: bool) -> None:
    """Go on with a yes only. Raises UsageError where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this asks before it changes anything, and nobody is there to answer", "repeat it with --yes")
    typer.confirm(question, abort=True)


def _run(directory: Path, request: "Request", as_json: bool) -> None:
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


def console() -> "Console":
    """Where text goes: as wide as the terminal, and wide enough for every table in a pipe or the journal."""
    from rich.console import Console

    plain = Console()
    return plain if plain.is_terminal else Console(width=WIDTH_IN_A_PIPE)


def print_json(data: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2, default=str))


def _fail(text: str, code: int, debug: bool, directory: Path | None) -> None:
    from etl_cli.runtime.redact import redact

    secrets = _secrets_of(directory)
    if debug:
        print(redact(traceback.format_exc(), secrets), file=sys.stderr)
        error = sys.exc_info()[1]
        elsewhere = getattr(error, "trace", "") or getattr(error and error.__cause__, "trace", "")
        if elsewhere:
            print(redact(f"In the worker:\n{elsewhere}", secrets), file=sys.stderr)
    print(f"{PROGRAM[0]}: {redact(text, secrets)}", file=sys.stderr)
    raise SystemExit(code) from None


def _secrets_of(directory: Path | None) -> set[str]:
    """What must not be shown; where the configuration is broken, whatever .env calls a password."""
    if directory is None:
        return set()
    from etl_cli.runtime.config.load import load_config, read_environment
    from etl_cli.runtime.redact import secrets_in

    try:
        return secrets_in(load_config(directory))
    except EtlError:
        pass
    try:
        variables = read_environment(directory)
    except EtlError:
        return set()
    return {value for name, value in variables.items() if value and "PASSWORD" in name.upper()}
