"""`etl-cli`: scaffold, check, plan and run pipelines; the sandbox."""

from pathlib import Path
from typing import Annotated

import typer

from etl_cli.cli.sandbox import app as sandbox
from etl_cli.runtime.command_line import AsJson, Debug, errors_as_lines
from etl_cli.runtime.commands import add_commands

app = typer.Typer(
    help="SQL Server shards into Postgres: scaffold, check, plan and run pipelines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from etl_cli import __version__

        print(f"etl-cli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """SQL Server shards into Postgres: scaffold, check, plan and run pipelines."""


@app.command()
def generate(
    name: Annotated[str, typer.Option(help="The pipeline's name: [a-z][a-z0-9-]{0,39}.")],
    table: Annotated[
        list[str] | None, typer.Option(help="A table to copy, e.g. dbo.orders; give it as often as needed.")
    ] = None,
    template: Annotated[Path | None, typer.Option(help="A directory of templates of your own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that were edited.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make the directory of a new pipeline: etl.py, config.yaml, .env, Dockerfile."""
    with errors_as_lines(debug):
        from etl_cli.cli.generate import generate_pipeline

        generate_pipeline(name, table or [], template, dry_run=dry_run, force=force, as_json=as_json)


add_commands(app)
app.add_typer(sandbox, name="sandbox")


@app.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors."""
    from etl_cli.runtime.config.keys import json_schema

    print(json_schema(), end="")


def main() -> None:
    """Entry point of the command `etl-cli`."""
    app(prog_name="etl-cli")
