"""What a shard's catalogue says: its tables, their columns, unique indexes, comments and sizes.

Column names come from INFORMATION_SCHEMA, which keeps their case; names in sys.* may be folded by a
server that only speaks the protocol, so they are matched without regard to case where no exact
match exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any

import pyodbc

from etl_cli.runtime.source.connect import Shard, session_statement
from etl_cli.runtime.source.errors import translate
from etl_cli.runtime.type_map import SourceType

TableName = tuple[str, str]
"""Schema and table."""


@dataclass(frozen=True)
class SourceColumn:
    """A column as the source has it."""

    name: str
    type: SourceType
    nullable: bool
    comment: str | None = None


@dataclass(frozen=True)
class UniqueIndex:
    """A unique, unfiltered index: its columns in order."""

    name: str
    columns: tuple[str, ...]
    clustered: bool
    primary: bool
    descending: bool


@dataclass(frozen=True)
class SourceTable:
    """A table or view of one shard."""

    schema: str
    name: str
    is_view: bool
    columns: tuple[SourceColumn, ...]
    indexes: tuple[UniqueIndex, ...] = ()
    comment: str | None = None
    row_estimate: int | None = None

    def column(self, name: str) -> SourceColumn | None:
        """The column of that name: the exact one, else the only one that differs in case."""
        exact = next((column for column in self.columns if column.name == name), None)
        if exact is not None:
            return exact
        alike = [column for column in self.columns if column.name.lower() == name.lower()]
        return alike[0] if len(alike) == 1 else None

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns, or ()."""
        return next((index.columns for index in self.indexes if index.primary), ())

    @property
    def clustered_unique(self) -> tuple[str, ...]:
        """The clustered unique index's columns: the order in which the table lies on disk; or ()."""
        return next((i.columns for i in self.indexes if i.clustered and not i.descending), ())


@dataclass(frozen=True)
class Server:
    """What a shard's server and database are."""

    version: str
    engine_edition: int
    database: str
    snapshot_allowed: bool
    read_committed_snapshot: bool
    collation: str | None

    @property
    def major_version(self) -> int:
        """16 for SQL Server 2022."""
        return int(self.version.split(".")[0])


@dataclass(frozen=True)
class Catalogue:
    """One shard's answers."""

    shard: str
    server: Server
    tables: Mapping[TableName, SourceTable]

    def table(self, schema: str, name: str) -> SourceTable | None:
        """The table of that name: the exact one, else the only one that differs in case."""
        exact = self.tables.get((schema, name))
        if exact is not None:
            return exact
        alike = [t for (s, n), t in self.tables.items() if (s.lower(), n.lower()) == (schema.lower(), name.lower())]
        return alike[0] if len(alike) == 1 else None


def read_catalogue(connection: pyodbc.Connection, shard: Shard) -> Catalogue:
    """All of a shard's tables and views that its login can see. Raises SourceError."""
    try:
        connection.execute(session_statement(shard))
        server = _server(_rows(connection, "server"), shard)
        columns = _rows(connection, "columns")
        indexes = _rows(connection, "unique_indexes")
        estimates = _rows(connection, "row_estimates")
        comments = _rows(connection, "comments")
        vectors = _rows(connection, "vectors")
    except pyodbc.Error as error:
        raise translate(error, shard.name, "reading the catalogue") from error
    return Catalogue(shard.name, server, _tables(columns, indexes, estimates, comments, vectors))


def _rows(connection: pyodbc.Connection, query: str) -> list[Any]:
    text = resources.files("etl_cli.runtime.source").joinpath("sql", f"{query}.sql").read_text(encoding="utf-8")
    with connection.cursor() as cursor:
        return list(cursor.execute(text).fetchall())


def _server(rows: list[Any], shard: Shard) -> Server:
    version, edition, database, snapshot, rcsi, collation = rows[0] if rows else ("0", 0, shard.database, 0, 0, None)
    return Server(str(version), int(edition or 0), database, snapshot == 1, bool(rcsi), collation)


def _tables(
    columns: Iterable[Any],
    indexes: Iterable[Any],
    estimates: Iterable[Any],
    comments: Iterable[Any],
    vectors: Iterable[Any] = (),
) -> dict[TableName, SourceTable]:
    by_index = _grouped(indexes)
    rows_of = {(_lower(schema), _lower(name)): int(count or 0) for schema, name, count in estimates}
    comments_of = {(_lower(s), _lower(n), _lower(c) if c else None): text for s, n, c, text in comments}
    dimensions = {(_lower(s), _lower(n), _lower(c)): int(count) for s, n, c, count in vectors}
    tables = {}
    for (schema, name, kind), group in groupby(columns, key=lambda row: (row[0], row[1], row[2])):
        low = (_lower(schema), _lower(name))
        own = tuple(
            _column(row, comments_of.get((*low, _lower(row[3]))), dimensions.get((*low, _lower(row[3]))))
            for row in group
        )
        tables[schema, name] = SourceTable(
            schema,
            name,
            kind == "VIEW",
            own,
            _indexes(by_index.get(low, []), own),
            comments_of.get((*low, None)),
            rows_of.get(low),
        )
    return tables


def _grouped(indexes: Iterable[Any]) -> dict[TableName, list[Any]]:
    groups: dict[TableName, list[Any]] = {}
    for row in indexes:
        groups.setdefault((_lower(row[0]), _lower(row[1])), []).append(row)
    return groups


def _indexes(rows: list[Any], columns: tuple[SourceColumn, ...]) -> tuple[UniqueIndex, ...]:
    table = SourceTable("", "", False, columns)
    found = []
    for name, group in groupby(rows, key=lambda row: row[2]):
        members = list(group)
        named = [table.column(row[5]) for row in members]
        if any(column is None for column in named):
            continue  # an index on a column that this login cannot see
        found.append(
            UniqueIndex(
                name,
                tuple(c.name for c in named if c),
                members[0][3] == 1,
                bool(members[0][4]),
                any(r[6] for r in members),
            )
        )
    return tuple(found)


def _column(row: Any, comment: str | None, dimensions: int | None) -> SourceColumn:
    _, _, _, name, data_type, nullable, length, precision, scale, digits, collation = row
    kind = str(data_type).lower()
    if dimensions is not None:
        kind, length, collation = "vector", dimensions, None
    return SourceColumn(
        name,
        SourceType(
            kind,
            None if length is None else int(length),
            None if precision is None else int(precision),
            int(digits) if digits is not None else None if scale is None else int(scale),
            collation,
        ),
        str(nullable).upper() == "YES",
        comment,
    )


def _lower(name: str) -> str:
    return name.lower()
