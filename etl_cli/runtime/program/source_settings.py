"""What `@pipeline.extract` and `@pipeline.load` may say, and what of it cannot be."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack, get_args

from etl_cli.runtime.config.units import parse_duration
from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.program.sources import Members, Mode, Retries, Source, Writer
from etl_cli.runtime.program.types import canonical_type

OF_WRITER = ("batch", "last", "part", "table", "member", "run_id")
"""What an own writer's function may take."""

_WORDS = {
    "mode": get_args(Mode),
    "schema": ("evolve", "freeze", "discard"),
    "on_bad_row": ("fail", "reject"),
    "nul_characters": ("fail", "strip"),
}
"""Settings that are one of a few words."""

_LEAST = {"at_once": 1, "batches": 1, "pages": 1, "max_rejects": 0}
"""Settings that are whole numbers, and the lowest of each."""

_OF_RETRIES = ("attempts", "delay", "factor", "limit")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")

_Problem = tuple[str, str]
"""What is wrong, and what to do."""


class SourceSettings(TypedDict, total=False):
    """The keywords of `@pipeline.extract`; what is left out has the default of `Source` and `Retries`."""

    key: str | Sequence[str]
    mode: Mode
    cursor: str | None
    target: str | None
    columns: Mapping[str, str] | None
    model: Any
    fan_out: Members | None
    at_once: int
    member_column: str | None
    pages: int | None
    batches: int
    attempts: int
    delay: str | float
    factor: float
    limit: str | float
    schema: str
    on_bad_row: str
    max_rejects: int
    soft_delete: bool
    track_changes: bool
    lineage: bool
    allow_empty: bool
    nul_characters: str
    to_sink: bool


def source_of(function: Callable[..., Any], name: str, **settings: Unpack[SourceSettings]) -> Source:
    """A source of a function and its settings. Raises ConfigError for what cannot be."""
    label = f'@pipeline.extract("{name}")'
    source = _source(label, function, name, dict(settings))
    for wrong, remedy in _problems(source):
        raise ConfigError(f"{label}: {wrong}", remedy)
    return source


def writer_of(function: Callable[..., Any], table: str) -> Writer:
    """A writer of a function. Raises ConfigError for parameters that it is not given."""
    names = tuple(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in OF_WRITER]
    named = _named(function)
    if unknown or "batch" not in names:
        wrong = f"{named} takes {', '.join(unknown)}" if unknown else f"{named} takes no batch"
        raise ConfigError(f'@pipeline.load("{table}"): {wrong}', f"it is given {', '.join(OF_WRITER)}, by name")
    return Writer(table, named, function, names)


def _source(label: str, function: Callable[..., Any], name: str, settings: dict[str, Any]) -> Source:
    unknown = [setting for setting in settings if setting not in SourceSettings.__annotations__]
    if unknown:
        known = ", ".join(sorted(SourceSettings.__annotations__))
        raise ConfigError(f"{label}: {', '.join(unknown)} is no setting", f"use {known}, after or timeout")
    tries = {setting: settings.pop(setting) for setting in _OF_RETRIES if setting in settings}
    key = settings.pop("key", ())
    columns = {}
    for column, kind in (settings.pop("columns", None) or {}).items():
        try:
            columns[column] = canonical_type(kind)
        except ValueError as error:
            raise ConfigError(f"{label}: columns: {column}: {error}", "correct it") from None
    try:
        retries = _retries(**tries)
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from None
    key = (key,) if isinstance(key, str) else tuple(key)
    return Source(name, function, key=key, columns=columns, retries=retries, **settings)


def _retries(
    attempts: int = Retries.attempts,
    delay: str | float = Retries.delay_s,
    factor: float = Retries.factor,
    limit: str | float = Retries.limit_s,
) -> Retries:
    return Retries(max(1, int(attempts)), parse_duration(delay), max(1.0, float(factor)), parse_duration(limit))


def _problems(source: Source) -> Iterator[_Problem]:
    if not _NAME.fullmatch(source.name):
        yield "not a name", "use letters, digits, _ and -; target= names the table"
    if not inspect.isgeneratorfunction(inspect.unwrap(source.function)) and not _gives_iterator(source.function):
        wrong = f"{_named(source.function)} does not yield anything"
        yield wrong, "yield rows as dicts, lists of dicts or Arrow batches"
    for setting, words in _WORDS.items():
        if getattr(source, setting) not in words:
            yield f"{setting} {getattr(source, setting)!r} is not known", f"use {', '.join(words)}"
    for setting, least in _LEAST.items():
        value = getattr(source, setting)
        if not _is_number(value, least) and not (setting == "pages" and value is None):
            yield f"{setting} is {value!r}", f"use a whole number from {least} on"
    yield from _contradictions(source)


def _contradictions(source: Source) -> Iterator[_Problem]:
    """Settings that do not go together."""
    if source.mode in ("upsert", "sync") and not source.key and source.to_sink:
        yield f"mode {source.mode} needs a key to tell rows apart", 'name it: key=["id"]'
    if (source.soft_delete or source.track_changes) and source.mode != "sync":
        yield "soft_delete and track_changes go with a mode that sees deletes", 'use mode="sync"'
    if source.member_column and source.fan_out is None:
        yield "member_column goes with fan_out", "name the members, or leave it out"
    if source.member_column in source.key:
        yield f"{source.member_column} is the member's column and in key", "leave it out of key"
    if source.member_column in source.columns:
        yield f"columns names {source.member_column}, the member's column", "leave it out: it is text"
    typed = {*source.columns, *getattr(source.model, "model_fields", ())}
    if source.cursor and not source.to_sink and source.cursor not in typed:
        remedy = f'declare it, e.g. columns={{"{source.cursor}": "bigint"}}'
        yield f"no target tells the type of its cursor {source.cursor}", remedy


def _gives_iterator(function: Callable[..., Any]) -> bool:
    """A function that hands on another's generator tells so by its annotation."""
    told = str(getattr(function, "__annotations__", {}).get("return", ""))
    return any(name in told for name in ("Iterator", "Generator", "Iterable"))


def _is_number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _named(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", "function"))
