"""The sources that a statement's column names may mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from etl_cli.sandbox.standin.errors import SqlError, invalid_column
from etl_cli.sandbox.standin.sql.ast import Column
from etl_cli.sandbox.standin.sql.bound import Bound
from etl_cli.sandbox.standin.types import SqlType


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column that a source offers."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False


@dataclass
class SourceScope:
    """One source: the names it goes by (lower case), its columns, and which of them are used.

    names: (alias,) or (schema, table) or both parts of a table without an alias.
    """

    names: tuple[str, ...]
    columns: tuple[SourceColumn, ...]
    table: str = ""
    outer: bool = False  # the right side of a LEFT JOIN: all may be NULL
    used: list[int] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.positions = {column.name.lower(): place for place, column in enumerate(self.columns)}

    def slot(self, position: int) -> int:
        """Return the place of a column in the source's rows, and note that it is used."""
        if position not in self.used:
            self.used.append(position)
        return self.used.index(position)

    def answers_to(self, qualifier: tuple[str, ...]) -> bool:
        """Whether qualifier means this source: its alias, or the end of its full name."""
        return not qualifier or self.names[-len(qualifier) :] == qualifier


class Scope:
    """All sources of a query, in the order of FROM."""

    def __init__(self, sources: list[SourceScope] | None = None) -> None:
        self.sources = sources if sources is not None else []

    def resolve(self, column: Column) -> tuple[int, int]:
        """Return (source, position); 207 for an unknown name, 209 for an ambiguous one, 4104 for a wrong prefix."""
        *qualifier, name = column.parts
        matching = [place for place, source in enumerate(self.sources) if source.answers_to(tuple(qualifier))]
        if qualifier and not matching:
            raise SqlError(4104, f'The multi-part identifier "{column.spelled}" could not be bound.')
        found = [place for place in matching if name in self.sources[place].positions]
        if not found:
            raise invalid_column(column.spelled.rsplit(".", 1)[-1])
        if len(found) > 1:
            raise SqlError(209, f"Ambiguous column name '{column.spelled}'.")
        return found[0], self.sources[found[0]].positions[name]

    def knows(self, column: Column) -> bool:
        """Whether a column's name means one of these sources."""
        try:
            self.resolve(column)
        except SqlError:
            return False
        return True

    def bind(self, column: Column) -> Bound:
        """Return the expression that reads a column."""
        place, position = self.resolve(column)
        return self.bind_at(place, position)

    def bind_at(self, place: int, position: int) -> Bound:
        """Return the expression that reads a column by its place."""
        source = self.sources[place]
        slot = source.slot(position)
        offered = source.columns[position]
        return Bound(
            offered.type, lambda row: row[place][slot], offered.nullable or source.outer, column=(place, position)
        )
