"""Own sources and writers of an etl.py, as data: what `@pipeline.extract` and `@pipeline.load` declare. No Arrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.names import cut, fold

Mode = Literal["replace", "append", "upsert", "sync"]
Members = Mapping[str, Any] | Sequence[Any] | str | Callable[..., Any]

ALONE = ""
"""The one member of a source that has no `fan_out`, as the ledger names it."""

OF_SOURCE = ("run", "watermark", "position", "member", "params")
"""What an own source's function may take beside steps and parameters of the run."""


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
