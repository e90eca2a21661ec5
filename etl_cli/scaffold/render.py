"""Answers and a template directory in, files out; nothing is written here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
)

from etl_cli.runtime.errors import UsageError
from etl_cli.scaffold.answers import Answers

SUFFIX = ".j2"
SECRET_FILES = frozenset({".env"})
REQUIRED_FILES = ("config.yaml", "etl.py")
_NOT_TEMPLATES = frozenset({".git", "__pycache__", ".DS_Store"})


class RenderError(UsageError):
    """A template cannot be rendered: unknown answer, bad syntax, or a file that is missing."""


@dataclass(frozen=True)
class File:
    """A file as it should be: its bytes and its permission bits (before the umask)."""

    content: bytes
    mode: int = 0o644


def render(answers: Answers, template: Path, builtin: Path, context: Mapping[str, Any]) -> dict[str, File]:
    """The files of `template` by their path in the pipeline's directory.

    `*.j2` are rendered, others are copied as they are. `context` holds what is known beside the
    answers (pins, wheel). A template may build on the built-in ones: `{% extends "builtin/etl.py.j2" %}`.
    Raises RenderError.
    """
    if not template.is_dir():
        raise RenderError(f"template directory {template} does not exist", "give a directory of *.j2 files")
    environment = _environment(template, builtin)
    values = {**vars(answers), **context}
    files: dict[str, File] = {}
    for source in _sources(template):
        relative = source.relative_to(template).as_posix()
        target = relative.removesuffix(SUFFIX)
        if target in files:
            raise RenderError(f"template {template} holds both {target} and {target}{SUFFIX}", "keep one of them")
        files[target] = _file(environment, source, relative, values)
    _check_complete(files, template)
    return files


def _environment(template: Path, builtin: Path) -> Environment:
    own = FileSystemLoader(template)
    environment = Environment(
        loader=ChoiceLoader([own, PrefixLoader({"builtin": FileSystemLoader(builtin)})]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # nothing here is HTML
    )
    environment.filters["yaml"] = yaml_text
    return environment


def _sources(template: Path) -> Iterator[Path]:
    for path in sorted(template.rglob("*")):
        if path.is_file() and not _NOT_TEMPLATES.intersection(path.relative_to(template).parts):
            yield path


def _file(environment: Environment, source: Path, relative: str, values: Mapping[str, Any]) -> File:
    if not relative.endswith(SUFFIX):
        return File(source.read_bytes(), _mode(source))
    try:
        text = environment.get_template(relative).render(values)
    except TemplateSyntaxError as error:
        raise RenderError(f"{source}:{error.lineno}: {error.message}", "mend the template") from error
    except UndefinedError as error:
        known = ", ".join(sorted(values))
        raise RenderError(f"{source}: {error.message}", f"a template knows {known}") from error
    except (TemplateError, UnicodeDecodeError) as error:
        raise RenderError(f"{source}: {error}", "mend the template") from error
    return File(text.encode(), _mode(source))


def _mode(source: Path) -> int:
    if source.name.removesuffix(SUFFIX) in SECRET_FILES:
        return 0o600
    return 0o755 if source.stat().st_mode & 0o100 else 0o644


def _check_complete(files: Mapping[str, File], template: Path) -> None:
    for name in REQUIRED_FILES:
        if name not in files:
            raise RenderError(f"template {template} has no {name}", f"add {name}{SUFFIX}: every pipeline needs it")


def yaml_text(value: str) -> str:
    """`value` as a YAML scalar of config.yaml: quoted where needed, `$` kept from interpolation.

    JSON's strings are YAML's double-quoted ones (YAML 1.2, section 1.3).
    """
    escaped = value.replace("$", "$$")
    return escaped if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z0-9_*]+", escaped) else json.dumps(escaped)
