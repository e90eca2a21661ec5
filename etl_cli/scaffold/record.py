"""What a pipeline was generated from, kept beside its files in .etl-cli.json.

A file of its own, and not config.yaml alone: the user rewrites config.yaml, while the digests tell
an edited file from one that is merely old. The id is config.yaml's: that is the one that runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from etl_cli.scaffold.answers import Answers, is_table
from etl_cli.scaffold.plan import RECORD_FILE, digest, is_built
from etl_cli.scaffold.render import SECRET_FILES, File

# how the record names the template of this project; a team's own goes by the name of its directory
BUILTIN = "built-in"


@dataclass(frozen=True)
class Record:
    """The answers and the digests of a generated pipeline."""

    name: str
    id: str
    tables: tuple[str, ...] = ()
    python: str = ""
    version: str = ""
    template: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def read_record(directory: Path) -> Record | None:
    """The record of the pipeline in `directory`; None when nothing there says what it is.

    A clone without the record, or with one that cannot be read, is known by its config.yaml.
    """
    config = _mapping(directory / "config.yaml")
    stored = _mapping(directory / RECORD_FILE)
    record = _from_stored(stored) or _from_config(config)
    own_id = _id(config.get("id"))
    return replace(record, id=own_id) if record and own_id else record


def record_file(answers: Answers, template: str, files: Mapping[str, File]) -> File:
    """The file that records what `files` were rendered from."""
    digests = {path: digest(file.content) for path, file in sorted(files.items()) if _is_recorded(path)}
    content = {
        "about": "Written by `etl-cli generate`, which knows by it what it made; commit it, do not edit it.",
        "name": answers.name,
        "id": answers.id,
        "tables": list(answers.tables),
        "python": answers.python,
        "version": answers.version,
        "template": template,
        "files": digests,
    }
    return File((json.dumps(content, indent=2) + "\n").encode())


def _is_recorded(path: str) -> bool:
    """Not the secrets, whose digest would tell of them, and not what is built anew each time."""
    return not is_built(path) and path.rpartition("/")[2] not in SECRET_FILES


def _from_stored(stored: Mapping[str, Any]) -> Record | None:
    name, own_id = stored.get("name"), _id(stored.get("id"))
    if not isinstance(name, str) or own_id is None:
        return None
    files = stored.get("files")
    return Record(
        name,
        own_id,
        _tables(stored.get("tables")),
        str(stored.get("python", "")),
        str(stored.get("version", "")),
        str(stored.get("template", "")),
        {str(path): str(value) for path, value in files.items()} if isinstance(files, dict) else {},
    )


def _from_config(config: Mapping[str, Any]) -> Record | None:
    name, own_id = config.get("name"), _id(config.get("id"))
    if not isinstance(name, str) or own_id is None:
        return None
    tables = config.get("tables")
    sources = [table.get("source") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    return Record(name, own_id, _tables(sources))


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}", value) else None


def _tables(values: object) -> tuple[str, ...]:
    return (
        tuple(value for value in values if isinstance(value, str) and is_table(value))
        if isinstance(values, list)
        else ()
    )


def _mapping(path: Path) -> dict[str, Any]:
    """The file's keys; none when it is missing or unreadable. JSON is YAML."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
