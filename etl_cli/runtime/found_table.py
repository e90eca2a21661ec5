"""One table of the configuration together with what the shards' catalogues say of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.config.tables import TableConfig
from etl_cli.runtime.source.catalogue import Catalogue, SourceColumn, SourceTable, TableName

Problems = list[str]


@dataclass
class FoundTable:
    """What the planning of a table begins with; collects its problems and notes on the way."""

    config: Config
    entry: TableConfig
    """The entry of `tables` that names it."""
    name: TableName
    catalogues: Sequence[Catalogue]
    problems: Problems = field(default_factory=list)
    notes: Problems = field(default_factory=list)

    @cached_property
    def by_shard(self) -> Mapping[str, SourceTable]:
        """The table of each shard that has it."""
        return {c.shard: table for c in self.catalogues if (table := c.table(*self.name))}

    @property
    def first_shard(self) -> str:
        """The shard after which the others are judged."""
        return next(iter(self.by_shard))

    @property
    def first(self) -> SourceTable:
        """Its table, which spells the columns."""
        return self.by_shard[self.first_shard]

    @cached_property
    def copied(self) -> frozenset[str]:
        """The source columns that are copied, by the first shard's spelling: the configured ones, else all."""
        if self.entry.columns is None:
            return frozenset(column.name for column in self.first.columns)
        return frozenset(column.name for name in self.entry.columns if (column := self.first.column(name)))

    def columns(self, name: str) -> dict[str, SourceColumn]:
        """The column of that name by shard, where there is one."""
        return {shard: column for shard, table in self.by_shard.items() if (column := table.column(name))}

    def problem(self, text: str) -> None:
        """Something that forbids the plan; it ends with its remedy."""
        self.problems.append(f"{'.'.join(self.name)}: {text}")

    def note(self, text: str) -> None:
        """Something that an operator should know."""
        self.notes.append(f"{'.'.join(self.name)}: {text}")
