"""Own sources and writers of an etl.py, as data: what `@pipeline.extract` and `@pipeline.load` declare. No Arrow."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from etl_cli.runtime.config.units import parse_duration
from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.names import cut, fold
from etl_cli.runtime.program.types import canonical_type

Mode = Literal["replace", "append", "upsert", "sync"]
Members = Mapping[str, Any] | Sequence[Any] | str | Callable[..., Any]

ALONE = ""
"""The one member of a source that has no `fan_out`, as the ledger names it."""

OF_SOURCE = ("run", "watermark", "position", "member", "params")
"""What an own source's function may take beside steps and parameters of the run."""

OF_WRITER = ("batch", "last", "part", "table", "member", "run_id")
"""What an own writer's function may take."""

_WORDS = {
    "schema": ("evolve", "freeze", "discard"),
    "on_bad_row": ("fail", "reject"),
    "nul_characters": ("fail", "strip"),
}
"""Settings that are one of a few words."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Retries:
    """Tries of a member in a row that record nothing, and the seconds between them: `delay * factor ** n`."""

    attempts: int = 5
    delay_s: float = 1.0
    factor: float = 2.0
    limit_s: float = 60.0

    def delay_after(self, failures: int) -> float | None:
        """Seconds until the next try after so many failures in a row; None = no more."""
        if failures >= self.attempts:
            return None
        return float(min(self.delay_s * self.factor ** min(failures - 1, 60), self.limit_s))


@dataclass(frozen=True)
class Source:
    """A generator that yields rows, and the table that they go to.

    `pages` yields make a batch, `batches` batches a transaction. `columns` gives Postgres types by name, for what the
    values do not tell; `member_column` is filled with the member's name, and then part of the key.
    """

    name: str
    function: Callable[..., Any]
    key: tuple[str, ...] = ()
    mode: Mode = "upsert"
    cursor: str | None = None
    target: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    model: Any = None
    fan_out: Members | None = None
    at_once: int = 4
    member_column: str | None = None
    pages: int | None = None
    batches: int = 1
    retries: Retries = Retries()
    schema: str = "evolve"
    on_bad_row: str = "fail"
    max_rejects: int = 0
    soft_delete: bool = False
    track_changes: bool = False
    lineage: bool = False
    allow_empty: bool = False
    nul_characters: str = "fail"
    to_sink: bool = True
    """Whether its rows go to the sink; False where only own writers take them."""

    @property
    def is_shadowed(self) -> bool:
        """Whether rows become visible together at the end."""
        return self.mode in ("replace", "sync")

    @property
    def is_repeatable(self) -> bool:
        """Whether rows may come twice: their key finds the first, or those of a failed try can be removed."""
        if not self.to_sink:
            return False
        return self.can_be_emptied if self.is_shadowed else bool(self.key)

    @property
    def moves_by_chunk(self) -> bool:
        """Whether the watermark moves with the rows, which only the place to go on from keeps from coming twice."""
        return self.to_sink and self.mode == "append" and not self.key

    @property
    def can_be_emptied(self) -> bool:
        """Whether a member's rows beside the target are known as its own."""
        return self.is_shadowed and (self.fan_out is None or self.member_column is not None)

    @property
    def members_share_keys(self) -> bool:
        """Whether two members may bring rows of the same key."""
        return self.fan_out is not None and self.member_column is None and bool(self.key)

    def target_name(self, schema: str) -> tuple[str, str]:
        """Schema and name in the sink; `schema` is that of the configuration."""
        named, _, table = (self.target or fold(self.name, "fold")).rpartition(".")
        return cut(named or schema), cut(table)

    def scope(self, schema: str) -> str:
        """Of which target and key a watermark tells."""
        key = [*self.key, *([self.member_column] if self.member_column else [])]
        return json.dumps([".".join(self.target_name(schema)), sorted(key), self.cursor])

    def members(self, results: Mapping[str, Any], arguments: Callable[..., Mapping[str, Any]]) -> dict[str, Any]:
        """What it is run for, by name. Raises ConfigError; an error of a function of the user passes through.

        A list is named by its texts, a tuple or a list in it by its parts: `acme/github`.
        """
        if self.fan_out is None:
            return {ALONE: None}
        given = self.fan_out
        if isinstance(given, str):
            given = results[given]
        elif callable(given):
            given = given(**arguments(given))
        if isinstance(given, Mapping):
            found = {str(name): value for name, value in given.items()}
        else:
            listed = list(given)
            found = {_named(one): one for one in listed}
            if len(found) < len(listed):
                raise ConfigError(f"extract {self.name}: fan_out names a member twice", "give each a name of its own")
        wrong = [name for name in found if not 0 < len(name) <= 200 or not name.isprintable()]
        if wrong:
            raise ConfigError(f"extract {self.name}: {wrong[0]!r} is no name for a member", "use up to 200 letters")
        return found


def _named(member: Any) -> str:
    return "/".join(map(str, member)) if isinstance(member, tuple | list) else str(member)


@dataclass(frozen=True)
class Writer:
    """A function that is given a table's batches; `takes` are its parameters."""

    table: str
    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]


def source_of(function: Callable[..., Any], name: str, **settings: Any) -> Source:
    """A source of a function and its settings. Raises ConfigError for what cannot be."""
    label = f'@pipeline.extract("{name}")'

    def refuse(wrong: str, remedy: str) -> ConfigError:
        return ConfigError(f"{label}: {wrong}", remedy)

    if not _NAME.fullmatch(name):
        raise refuse("not a name", "use letters, digits, _ and -; target= names the table")
    if not inspect.isgeneratorfunction(inspect.unwrap(function)) and not _gives_iterator(function):
        named = getattr(function, "__name__", "function")
        raise refuse(f"{named} does not yield anything", "yield rows as dicts, lists of dicts or Arrow batches")
    if settings["mode"] not in get_args(Mode):
        raise refuse(f"mode {settings['mode']!r} is not known", f"use {', '.join(get_args(Mode))}")
    for wanted, known in _WORDS.items():
        if settings[wanted] not in known:
            raise refuse(f"{wanted} {settings[wanted]!r} is not known", f"use {', '.join(known)}")
    settings["key"] = tuple(_listed(settings["key"]))
    if settings["member_column"] in settings["key"]:
        raise refuse(f"{settings['member_column']} is the member's column and in key", "leave it out of key")
    if settings["mode"] in ("upsert", "sync") and not settings["key"] and settings["to_sink"]:
        raise refuse(f"mode {settings['mode']} needs a key to tell rows apart", 'name it: key=["id"]')
    if (settings["soft_delete"] or settings["track_changes"]) and settings["mode"] != "sync":
        raise refuse("soft_delete and track_changes go with a mode that sees deletes", 'use mode="sync"')
    for wanted, least in (("at_once", 1), ("batches", 1), ("pages", 1), ("max_rejects", 0)):
        value = settings[wanted]
        if (value is None and wanted != "pages") or (value is not None and not _is_number(value, least)):
            raise refuse(f"{wanted} is {value!r}", f"use a whole number from {least} on")
    if settings["fan_out"] is None and settings["member_column"]:
        raise refuse("member_column goes with fan_out", "name the members, or leave it out")
    columns = {}
    for column, kind in (settings["columns"] or {}).items():
        try:
            columns[column] = canonical_type(kind)
        except ValueError as error:
            raise refuse(f"columns: {column}: {error}", "correct it") from None
    if settings["member_column"] in columns:
        raise refuse(f"columns names {settings['member_column']}, the member's column", "leave it out: it is text")
    typed = {*columns, *getattr(settings["model"], "model_fields", ())}
    if settings["cursor"] and not settings["to_sink"] and settings["cursor"] not in typed:
        remedy = f'declare it, e.g. columns={{"{settings["cursor"]}": "bigint"}}'
        raise refuse(f"no target tells the type of its cursor {settings['cursor']}", remedy)
    return Source(name, function, **{**settings, "columns": columns})


def retries_of(name: str, attempts: int, delay: str | float, factor: float, limit: str | float) -> Retries:
    """Raises ConfigError for durations that are none."""
    try:
        return Retries(max(1, int(attempts)), parse_duration(delay), max(1.0, float(factor)), parse_duration(limit))
    except ValueError as error:
        raise ConfigError(f'@pipeline.extract("{name}"): {error}') from None


def writer_of(function: Callable[..., Any], table: str) -> Writer:
    """A writer of a function. Raises ConfigError for parameters that it is not given."""
    names = tuple(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in OF_WRITER]
    named = getattr(function, "__name__", "function")
    if unknown or "batch" not in names:
        wrong = f"{named} takes {', '.join(unknown)}" if unknown else f"{named} takes no batch"
        raise ConfigError(f'@pipeline.load("{table}"): {wrong}', f"it is given {', '.join(OF_WRITER)}, by name")
    return Writer(table, named, function, names)


def _gives_iterator(function: Callable[..., Any]) -> bool:
    """A function that hands on another's generator tells so by its annotation."""
    told = str(getattr(function, "__annotations__", {}).get("return", ""))
    return any(name in told for name in ("Iterator", "Generator", "Iterable"))


def _is_number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _listed(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given
