"""Writes a plan, all of it or nothing; whatever fails, only what this run made is removed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from etl_cli.scaffold.plan import Change, Current


def write_new(changes: Sequence[Change], directory: Path) -> None:
    """Makes `directory` with all its files in one step.

    It is built under another name beside it, so that even a kill -9 never leaves half a pipeline.
    Raises OSError; of errno ENOTEMPTY or EEXIST when the directory appeared meanwhile.
    """
    building = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.new")
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, building, ignore_errors=True)
        _make_directories(directory.parent, undo)
        write(changes, building)
        # an empty directory is replaced, any other refuses: rename(2)
        building.rename(directory)
        undo.pop_all()


def write(changes: Sequence[Change], directory: Path) -> None:
    """Writes the changes that write below `directory`.

    First every file under a temporary name in its own directory, then the renames: what can fail
    (a full disk, a missing permission) mostly fails before the first file is replaced, and what is
    replaced by then is put back. Raises OSError.
    """
    with ExitStack() as undo:
        staged = [
            (change, _stage(directory / change.path, change.file.content, change.file.mode, undo))
            for change in changes
            if change.action.writes
        ]
        for change, temporary in staged:
            target = directory / change.path
            undo.callback(_restorer(target, change.previous, temporary))
            temporary.replace(target)
        undo.pop_all()


def _stage(target: Path, content: bytes, mode: int, undo: ExitStack) -> Path:
    """The content under a temporary name beside `target`, on disk."""
    _make_directories(target.parent, undo)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    undo.callback(temporary.unlink, missing_ok=True)
    # with its mode from the first moment on: a secret is never readable by others, not even briefly
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


def _restorer(target: Path, previous: Current | None, temporary: Path) -> Callable[[], None]:
    def restore() -> None:
        if temporary.exists():
            return  # never renamed: the target is what it was
        if previous is None:
            target.unlink(missing_ok=True)
            return
        with ExitStack() as undo:
            _stage(target, previous.content, previous.mode, undo).replace(target)
            undo.pop_all()

    return restore


def _make_directories(directory: Path, undo: ExitStack) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        undo.callback(_remove_empty, path)


def _remove_empty(directory: Path) -> None:
    with suppress(OSError):  # somebody else's file may lie in it by now
        directory.rmdir()
