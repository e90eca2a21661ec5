"""The commands of one pipeline, as `etl-cli VERB NAME` and as `python etl.py VERB`.

Each parses, calls one function and prints. They are declared once: `add_commands` binds them to a
directory, or leaves the pipeline's name as their first argument.
"""

# no `from __future__ import annotations` here: typer reads the annotations, which name local objects
import io
import json
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.locate import find_pipeline

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_IN_A_PIPE = 240

AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def add_commands(app: typer.Typer, directory: Path | None = None) -> None:
    """Add check, plan and run to `app`, for the pipeline in `directory` or for one named on the command line."""
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
    def run(name: Annotated[str, argument] = default, as_json: AsJson = False, debug: Debug = False) -> None:
        """Run once, in the foreground, with progress."""
        with pipeline_at(name, debug) as place:
            _run(place, as_json)


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
    except (typer.Exit, SystemExit):
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
        resolved = resolve_or_refuse(config, connection)
    if ddl:
        print("\n".join(script(table) for table in resolved.plan.tables), end="")
        return
    from etl_cli.runtime.display.reports import plan_as_json, print_plan

    if as_json:
        print_json(plan_as_json(resolved))
        return
    print_plan(console(), resolved)


def _run(directory: Path, as_json: bool) -> None:
    from contextlib import nullcontext

    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.display.lines import LineDisplay
    from etl_cli.runtime.display.live import LiveDisplay
    from etl_cli.runtime.display.summary import as_json as data_of
    from etl_cli.runtime.display.summary import print_summary
    from etl_cli.runtime.progress import Progress
    from etl_cli.runtime.run import RunFailedError, run_pipeline

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
            outcome = run_pipeline(config, progress)
        except RunFailedError as failed:
            outcome, error = failed.outcome, failed
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
    print(f"etl-cli: {redact(text, secrets)}", file=sys.stderr)
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
