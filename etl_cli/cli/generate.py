"""`etl-cli generate`: what was written, and what to type next."""

from __future__ import annotations

from pathlib import Path

from etl_cli.runtime.command_line import print_json
from etl_cli.runtime.locate import find_home
from etl_cli.scaffold.answers import Answers
from etl_cli.scaffold.generate import Outcome, generate
from etl_cli.scaffold.next_commands import next_commands


def generate_pipeline(
    name: str, tables: list[str], template: Path | None, *, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Make the pipeline under the nearest `pipelines/`, or under one made here."""
    home = find_home()
    answers = Answers(name=name, tables=tuple(tables))
    outcome = generate(answers, home or Path.cwd(), force=force, dry_run=dry_run, template=template)
    commands = next_commands(outcome.directory, Path.cwd(), home=home)
    if as_json:
        print_json(_data(outcome, commands))
    else:
        _show(outcome, commands)


def _show(outcome: Outcome, commands: tuple[str, ...]) -> None:
    for change in outcome.changes:
        print(f"{change.action.value:10} {_shown(outcome.directory)}/{change.path}")
    for note in outcome.notes:
        print(f"note: {note}")
    if outcome.dry_run:
        print("nothing was written (--dry-run)")
        return
    print("\nNext:")
    for command in commands:
        print(f"  {command}")


def _shown(directory: Path) -> Path:
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory


def _data(outcome: Outcome, commands: tuple[str, ...]) -> dict[str, object]:
    return {
        "directory": str(outcome.directory),
        "dry_run": outcome.dry_run,
        "files": [{"path": str(change.path), "action": change.action.value} for change in outcome.changes],
        "notes": list(outcome.notes),
        "next": list(commands),
    }
