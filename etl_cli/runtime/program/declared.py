"""Declarations of an etl.py, as data: filled by the decorators of `Pipeline`. Imports no Arrow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.expansion import split_name

Kind = Literal["transform", "map", "filter", "model"]
Frame = Literal["arrow", "polars", "pandas"]


@dataclass(frozen=True)
class Change:
    """A step on the way of a table's rows.

    `transform` takes and gives a batch, `map` a row, `filter` says of a row whether it stays, `model` checks rows
    with a pydantic class. `columns` are those that a map adds (name -> Postgres type; None = it takes one away), `key`
    is the target's where it is not the source's any more.
    """

    kind: Kind
    table: str
    name: str
    function: Callable[..., Any]
    as_: Frame = "arrow"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    key: Sequence[str] = ()
    model: Any = None


@dataclass
class Declared:
    """All that an etl.py declares."""

    changes: list[Change] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """Raises ConfigError for a function that does not take what it will be given."""
        if change.kind != "model":
            _refuse_signature(change)
        self.changes.append(change)

    def of_table(self, source: str) -> list[Change]:
        """The changes of a source table, in the order of their declaration."""
        wanted = _folded(source)
        return [change for change in self.changes if _folded(change.table) == wanted]

    def unknown_tables(self, sources: Sequence[str]) -> list[str]:
        """A line for each change of a table that is not copied."""
        known = {_folded(source) for source in sources}
        return [
            f'@pipeline.{change.kind}("{change.table}") of {change.name}: no such table is copied: '
            f"the tables are {', '.join(sources) or 'none'}"
            for change in self.changes
            if _folded(change.table) not in known
        ]


def _folded(source: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in split_name(source))


def _refuse_signature(change: Change) -> None:
    try:
        inspect.signature(change.function).bind(object())
    except TypeError:
        given = "a batch" if change.kind == "transform" else "a row"
        raise ConfigError(
            f'@pipeline.{change.kind}("{change.table}"): {change.name}{inspect.signature(change.function)} cannot be '
            f"called with {given} alone",
            f"declare it as def {change.name}({given.split()[1]})",
        ) from None
    except ValueError:
        return  # a built-in that does not tell
