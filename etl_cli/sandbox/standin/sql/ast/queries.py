"""SELECT and its sources."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.sandbox.standin.sql.ast.expressions import Expression, Name


@dataclass(frozen=True, slots=True)
class Star:
    """* or t.*."""

    table: Name = ()


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One item of a select list."""

    expression: Expression | Star
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class TableReference:
    """A table or view of FROM."""

    name: Name
    alias: str | None
    line: int = 1


@dataclass(frozen=True, slots=True)
class DerivedTable:
    """(SELECT ...) AS alias."""

    select: Select
    alias: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValuesTable:
    """(VALUES (..), (..)) AS alias(columns)."""

    rows: tuple[tuple[Expression, ...], ...]
    alias: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangeTable:
    """CHANGETABLE(CHANGES name, version) AS alias(columns)."""

    name: Name
    version: Expression
    alias: str
    columns: tuple[str, ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class Join:
    """left kind JOIN right ON condition; kind is INNER, LEFT, RIGHT, FULL or CROSS."""

    kind: str
    left: Source
    right: Source
    condition: Expression | None


Source = TableReference | DerivedTable | ValuesTable | ChangeTable | Join


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One key of ORDER BY."""

    expression: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A query; unions holds further ones that come behind it by UNION ALL."""

    items: tuple[SelectItem, ...]
    source: Source | None = None
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None
    order: tuple[OrderItem, ...] = ()
    top: Expression | None = None
    offset: Expression | None = None
    fetch: Expression | None = None
    distinct: bool = False
    unions: tuple[Select, ...] = ()
