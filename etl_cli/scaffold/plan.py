"""Decides what happens to each file, before any is written; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum

from etl_cli.scaffold.render import SECRET_FILES, File

RECORD_FILE = ".etl-cli.json"


class Action(StrEnum):
    """What happens to a file."""

    CREATE = "create"
    IDENTICAL = "identical"  # nothing to do
    UPDATE = "update"  # as it was generated before, nobody's work is in it
    KEEP = "keep"  # holds the user's secrets, or is a link that somebody made: stays
    CONFLICT = "conflict"  # edited since: stays, --force would overwrite it
    OVERWRITE = "overwrite"  # edited since and forced; a BACKUP is made of it
    BACKUP = "backup"  # the copy of what is overwritten

    @property
    def writes(self) -> bool:
        """Whether the file's bytes are written."""
        return self in (Action.CREATE, Action.UPDATE, Action.OVERWRITE, Action.BACKUP)


@dataclass(frozen=True)
class Current:
    """A file as it is now."""

    content: bytes
    mode: int
    is_link: bool = False


@dataclass(frozen=True)
class Change:
    """One file of the plan: its path in the directory, what happens, and what it will hold."""

    path: str
    action: Action
    file: File
    previous: Current | None = None


def digest(content: bytes) -> str:
    """What the record keeps of a generated file, to know an edited one again."""
    return hashlib.sha256(content).hexdigest()


def is_built(path: str) -> bool:
    """Whether a file is made by generate alone and edited by nobody: the record, the wheel in vendor/."""
    return path == RECORD_FILE or (path.startswith("vendor/") and path.endswith(".whl"))


def plan(
    files: Mapping[str, File],
    current: Mapping[str, Current],
    generated: Mapping[str, str],
    *,
    force: bool,
    taken: Container[str] = (),
) -> tuple[Change, ...]:
    """The changes in the order of their paths, a backup before what it saves.

    `current` holds the files that are there now, `generated` the digests that the last run
    recorded, `taken` all names in the directory, so that a backup never replaces a file.
    """
    changes: list[Change] = []
    for path, file in sorted(files.items()):
        now = current.get(path)
        action = decide(path, file, now, generated.get(path), force=force)
        if action is Action.OVERWRITE and now is not None:
            changes.append(_backup(path, now, taken))
        changes.append(Change(path, action, file, now))
    return tuple(changes)


def decide(path: str, file: File, now: Current | None, generated: str | None, *, force: bool) -> Action:
    """What happens to one file; the only place where that is decided."""
    secret = _is_secret(path)
    if now is None:
        return Action.CREATE
    if now.is_link:
        return Action.KEEP
    if now.content == file.content:
        # readable by others, it is written again with its own mode
        return Action.UPDATE if secret and now.mode & 0o077 else Action.IDENTICAL
    if is_built(path) or (not secret and digest(now.content) == generated):
        return Action.UPDATE
    if force:
        return Action.OVERWRITE
    return Action.KEEP if secret else Action.CONFLICT


def _backup(path: str, now: Current, taken: Container[str]) -> Change:
    candidates = (f"{path}.bak{number or ''}" for number in range(10_000))
    free = next(candidate for candidate in candidates if candidate not in taken)
    mode = 0o600 if _is_secret(path) else now.mode
    return Change(free, Action.BACKUP, File(now.content, mode))


def _is_secret(path: str) -> bool:
    return path.rpartition("/")[2] in SECRET_FILES
