"""What a table or a view is: columns, indexes, defaults. All values, none of them changes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from functools import cached_property

from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.types import SqlType

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; number is its column_id, which is never used again after a drop."""

    name: str
    type: SqlType
    number: int
    nullable: bool = True
    identity: tuple[int, int] | None = None
    default: ast.Expression | None = None
    default_text: str = ""
    computed: ast.Expression | None = None
    computed_text: str = ""
    persisted: bool = False
    rowguid: bool = False

    @property
    def is_rowversion(self) -> bool:
        """Whether the server writes it at every change."""
        return self.type.name == "rowversion"

    @property
    def is_written_by_server(self) -> bool:
        """Whether no statement may give it a value."""
        return self.is_rowversion or self.computed is not None


@dataclass(frozen=True, slots=True)
class Index:
    """An index; columns are (position in the table, descending); constraint is PRIMARY KEY, UNIQUE or None."""

    name: str
    number: int
    columns: tuple[tuple[int, bool], ...]
    unique: bool
    clustered: bool
    constraint: str | None = None
    object_id: int = 0
    included: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table's definition."""

    object_id: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    created: datetime.datetime = field(default_factory=datetime.datetime.now)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Positions of the columns by lower-case name."""
        return {column.name.lower(): position for position, column in enumerate(self.columns)}

    @cached_property
    def types(self) -> tuple[SqlType, ...]:
        """The columns' types."""
        return tuple(column.type for column in self.columns)

    @property
    def full_name(self) -> str:
        """schema.table, as messages say it."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def clustered(self) -> Index | None:
        """The clustered index, by which rows lie in order."""
        return next((index for index in self.indexes if index.clustered), None)

    @cached_property
    def primary_key(self) -> Index | None:
        """The primary key."""
        return next((index for index in self.indexes if index.constraint == "PRIMARY KEY"), None)

    @cached_property
    def unique_indexes(self) -> tuple[Index, ...]:
        """The indexes that refuse a second row with the same key."""
        return tuple(index for index in self.indexes if index.unique)


@dataclass(frozen=True)
class View:
    """A view: its query, and the text that made it."""

    object_id: int
    schema: str
    name: str
    columns: tuple[str, ...]
    select: ast.Select
    text: str
    created: datetime.datetime = field(default_factory=datetime.datetime.now)


DatabaseObject = Table | View
