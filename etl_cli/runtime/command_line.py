"""What the commands of all programs share: options, errors as lines, questions, where output goes."""

from __future__ import annotations

import functools
import inspect
import io
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl_cli.runtime.display.figures import WIDTH_IN_A_PIPE
from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.runtime.locate import find_pipeline

if TYPE_CHECKING:
    from rich.console import Console

PROGRAM = ["etl-cli"]
"""How the program is named in front of an error; a command of another name puts its own."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pipeline's name, or the path of its directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the run; may be repeated.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


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
    except OSError as error:  # a full disk, a file that may not be read
        parts = [str(part) for part in (error.filename, error.strerror) if part is not None]
        _fail(": ".join(parts) or str(error) or type(error).__name__, 1, debug, directory)
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


def bound(command: Callable[..., None], directory: Path | None) -> Callable[..., None]:
    """The command on the pipeline in `directory`, without its argument NAME; as it is where that is None."""
    if directory is None:
        return command

    @functools.wraps(command)
    def on_directory(**options: Any) -> None:
        command(name=str(directory), **options)

    signature = inspect.signature(command, eval_str=True)
    others = [parameter for name, parameter in signature.parameters.items() if name != "name"]
    on_directory.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # typer asks it
    return on_directory


def confirm(question: str, yes: bool) -> None:
    """Go on with a yes only. Raises UsageError where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this asks before it changes anything, and nobody is there to answer", "repeat it with --yes")
    typer.confirm(question, abort=True)


def console() -> Console:
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
    from etl_cli.runtime.config.load import load_config, passwords_of
    from etl_cli.runtime.redact import secrets_in

    try:
        return secrets_in(load_config(directory))
    except EtlError:
        return passwords_of(directory)
