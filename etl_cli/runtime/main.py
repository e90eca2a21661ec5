"""`python etl.py VERB`: the commands of the pipeline in one directory."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from etl_cli.runtime.commands import add_commands


def main(directory: Path) -> NoReturn:
    """Parse the command line and run it; ends the process."""
    app = typer.Typer(
        help=f"The pipeline in {directory}.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    add_commands(app, directory)
    app(prog_name="python etl.py")
    raise SystemExit(0)
