"""`etl-cli state VERB NAME` and `python etl.py state VERB`: the watermarks of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl_cli.runtime.command_line import AsJson, Debug, Name, Yes, bound, confirm, console, pipeline_at, print_json
from etl_cli.runtime.names import placed

Shards = Annotated[
    list[str] | None, typer.Option("--shard", "--member", help="Only this shard, or this member; may be repeated.")
]


def state_commands(directory: Path | None = None) -> typer.Typer:
    """The commands show, set and reset, for the pipeline in `directory` or for one named on the command line."""
    app = typer.Typer(
        help="Show, set and forget watermarks: how far append, upsert and changes have come.", no_args_is_help=True
    )
    for verb, command in (("show", show), ("set", set_), ("reset", reset)):
        app.command(verb)(bound(command, directory))
    return app


def show(name: Name, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show the watermark of every table and shard."""
    with pipeline_at(name, debug) as directory:
        _show(directory, as_json)


def set_(
    name: Name,
    value: Annotated[str, typer.Option(help="The cursor's value, as the source writes it.")],
    table: Annotated[str, typer.Option(help="The source table.")],
    shard: Shards = None,
    yes: Yes = False,
    debug: Debug = False,
) -> None:
    """Put watermarks at a value: the next run reads the rows above it."""
    with pipeline_at(name, debug) as directory:
        _set(directory, table, shard or [], value, yes)


def reset(
    name: Name,
    table: Annotated[str | None, typer.Option(help="Only this source table.")] = None,
    shard: Shards = None,
    yes: Yes = False,
    debug: Debug = False,
) -> None:
    """Forget watermarks: the next run reads everything."""
    with pipeline_at(name, debug) as directory:
        _reset(directory, table, shard or [], yes)


def _show(directory: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.display.reports import print_watermarks
    from etl_cli.runtime.state import watermarks

    marks = watermarks(load_config(directory))
    if as_json:
        print_json([asdict(mark) for mark in marks])
    else:
        print_watermarks(console(), marks)


def _set(directory: Path, table: str, shards: list[str], value: str, yes: bool) -> None:
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.state import chosen_for_setting, put

    config = load_config(directory)
    chosen = chosen_for_setting(config, table, shards)
    names = ", ".join(filter(None, (mark.shard for mark in chosen)))
    confirm(f"Put the watermark of {placed(chosen[0].source_table, names)} at {value}?", yes)
    put(config, chosen, value)
    print(f"{len(chosen)} watermark{'s' if len(chosen) > 1 else ''} set: the next run reads what is above {value}")


def _reset(directory: Path, table: str | None, shards: list[str], yes: bool) -> None:
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.state import chosen_for_reset, forget

    config = load_config(directory)
    chosen = chosen_for_reset(config, table, shards)
    for mark in chosen:
        print(f"{placed(mark.id.source_table, mark.id.shard)}: {mark.cursor} {mark.value}".replace(":  ", ": "))
    confirm("Forget these watermarks? The next run reads everything.", yes)
    forget(config, chosen)
    print(f"{len(chosen)} watermark{'s' if len(chosen) > 1 else ''} forgotten")
