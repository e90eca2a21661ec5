"""`etl-cli generate`: answers -> files -> decisions -> one write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.scaffold.answers import Answers
from etl_cli.scaffold.origin import Origin, find_origin, runtime_pins
from etl_cli.scaffold.plan import RECORD_FILE, Action, Change, Current, plan
from etl_cli.scaffold.record import BUILTIN, Record, read_record, record_file
from etl_cli.scaffold.render import File, RenderError, render
from etl_cli.scaffold.wheel import Wheel, own_wheel
from etl_cli.scaffold.write import write, write_new


class WriteError(EtlError):
    """The pipeline could not be written; what was there is as it was."""


@dataclass(frozen=True)
class Outcome:
    """What `generate` did, or with `dry_run` would do."""

    answers: Answers
    directory: Path
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    dry_run: bool


def generate(
    answers: Answers,
    root: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    template: Path | None = None,
    wheel: Wheel | None = None,
) -> Outcome:
    """Makes `root`/pipelines/NAME; every file's fate is decided before any is written.

    A pipeline that lacks files, as a clone does that carries no .env and no vendor/, is completed
    without touching what a person wrote. One that lacks nothing is made again with `force` only.
    It keeps its id, and its tables where none are given. `wheel` is the running etl-cli's by default.

    Raises UsageError for a name that is taken and for a bad template, WheelError, WriteError.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a directory", "go to the one that holds pipelines/, or set ETL_HOME to it")
    directory = root / "pipelines" / answers.name
    known = _known(directory, answers.name, force=force)
    template_name = template.resolve().name if template else BUILTIN
    if known:
        _check_same_origin(known, answers, template_name, force=force)
        answers = replace(
            answers, id=known.id, tables=answers.tables or known.tables, python=known.python or answers.python
        )
    origin = find_origin()
    wheel = wheel or own_wheel(origin)
    files = _files(answers, origin, template, template_name, wheel)
    changes = _changes(files, directory, known, force=force)
    if known and not force and not any(change.action is Action.CREATE for change in changes):
        raise _exists(answers.name)
    if not dry_run:
        _write(changes, directory, answers.name)
    return Outcome(answers, directory, changes, tuple(_notes(changes, wheel.name)), dry_run)


def _known(directory: Path, name: str, *, force: bool) -> Record | None:
    """The pipeline that is there; None when the directory is new, or is to be made one by force."""
    if not os.path.lexists(directory):
        return None
    if not directory.is_dir():
        raise UsageError(f"pipelines/{name} exists and is not a directory", "choose another --name or move it away")
    try:
        if not any(directory.iterdir()):
            return None
    except OSError as error:
        raise _write_error(error) from error
    record = read_record(directory)
    # a directory copied from another pipeline must not keep that one's id
    if record and record.name == name:
        return record
    if force:
        return None
    what = f"is a copy of the pipeline {record.name}" if record else "is not a pipeline that generate made"
    raise UsageError(
        f"pipelines/{name} exists and {what}",
        "choose another --name, or write into it with --force (edited files are kept as *.bak)",
    )


def _check_same_origin(known: Record, answers: Answers, template: str, *, force: bool) -> None:
    if known.template and known.template != template:
        raise UsageError(
            f"pipeline {known.name} was made from the template {known.template}, not {template}",
            "leave out --template" if known.template == BUILTIN else "give that one's directory with --template",
        )
    if not force and answers.tables and answers.tables != known.tables:
        raise UsageError(
            f"pipeline {known.name} exists with other tables",
            f"edit `tables` in pipelines/{known.name}/config.yaml, or write it anew with --force",
        )


def _exists(name: str) -> UsageError:
    return UsageError(
        f"pipeline {name} exists",
        "choose another --name, or make it again with --force (--dry-run --force shows what that changes)",
    )


def _files(
    answers: Answers, origin: Origin, template: Path | None, template_name: str, wheel: Wheel
) -> dict[str, File]:
    builtin = origin.templates / "pipeline"
    pins = runtime_pins(origin.constraints.read_text(encoding="utf-8"))
    files = render(answers, template or builtin, builtin, {"pins": pins, "wheel": wheel.name})
    if RECORD_FILE in files:
        raise RenderError(f"the template holds {RECORD_FILE}, which generate writes itself", "remove it there")
    files[f"vendor/{wheel.name}"] = File(wheel.content)
    return {**files, RECORD_FILE: record_file(answers, template_name, files)}


def _changes(files: dict[str, File], directory: Path, known: Record | None, *, force: bool) -> tuple[Change, ...]:
    try:
        current = dict(_read_current(directory, files))
        taken = set(_names(directory, files))
    except OSError as error:
        raise _write_error(error) from error
    return plan(files, current, known.files if known else {}, force=force, taken=taken)


def _read_current(directory: Path, paths: Iterable[str]) -> Iterator[tuple[str, Current]]:
    for path in paths:
        target = directory / path
        if target.is_symlink():
            yield path, Current(b"", 0o777, is_link=True)
        elif target.is_dir():
            raise UsageError(f"{target} is a directory and should be a file", "move it away")
        elif target.exists():
            yield path, Current(target.read_bytes(), target.stat().st_mode & 0o777)


def _names(directory: Path, paths: Iterable[str]) -> Iterator[str]:
    for parent in {(directory / path).parent for path in paths}:
        if parent.is_dir():
            yield from (child.relative_to(directory).as_posix() for child in parent.iterdir())


def _write(changes: tuple[Change, ...], directory: Path, name: str) -> None:
    is_new = not directory.exists() or not any(directory.iterdir())
    try:
        (write_new if is_new else write)(changes, directory)
    except OSError as error:
        if is_new and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _exists(name) from error  # somebody else was quicker
        raise _write_error(error) from error


def _write_error(error: OSError) -> WriteError:
    return WriteError(
        f"{error.filename}: {error.strerror}; nothing was changed", "make the directory readable and writable"
    )


def _notes(changes: tuple[Change, ...], wheel: str) -> Iterator[str]:
    """What a reader of the list of changes would overlook."""
    for change in changes:
        if change.action is Action.BACKUP:
            saved = change.path.rpartition(".bak")[0]
            yield f"{saved} is written anew; what it held is kept in {change.path}"
        if _lacks_wheel(change, wheel):
            yield f"requirements.txt was edited and is kept: name ./vendor/{wheel} in it"


def _lacks_wheel(change: Change, wheel: str) -> bool:
    stays = change.action in (Action.KEEP, Action.CONFLICT)
    if change.path != "requirements.txt" or not stays or change.previous is None:
        return False
    return wheel.encode() not in change.previous.content
