"""Which catalogue views there are, and how one is described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin.sql import lexer
from etl_cli.sandbox.standin.sql.cursor import Cursor
from etl_cli.sandbox.standin.types import SqlType

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

Values = dict[str, Any]
Maker = Callable[["ExecutionContext"], Iterable[Values]]


@dataclass(frozen=True)
class CatalogueTable:
    """A view of the catalogue: its columns, what they hold when the maker says nothing, and the maker."""

    columns: tuple[tuple[str, SqlType], ...]
    defaults: tuple[Any, ...]
    make: Maker

    def rows(self, context: ExecutionContext) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as a transaction sees them."""
        for values in self.make(context):
            yield tuple(
                values.get(name, default) for (name, _), default in zip(self.columns, self.defaults, strict=True)
            )


_TABLES: dict[tuple[str, str], CatalogueTable] = {}


def view(name: str, description: str) -> Callable[[Maker], Maker]:
    """Register a view: description lists `column type`, or `column type = default`, separated by commas."""
    schema, _, own = name.lower().partition(".")
    columns, defaults = describe(description)

    def keep(maker: Maker) -> Maker:
        _TABLES[schema, own] = CatalogueTable(columns, defaults, maker)
        return maker

    return keep


def describe(description: str) -> tuple[tuple[tuple[str, SqlType], ...], tuple[Any, ...]]:
    """Return the columns and the defaults of a description."""
    cursor = Cursor(description)
    columns: list[tuple[str, SqlType]] = []
    defaults: list[Any] = []
    while cursor.current.kind != lexer.END:
        columns.append((cursor.advance().text, cursor.data_type()))
        default = None
        if cursor.accept_symbol("="):
            token = cursor.current
            default = cursor.string() if token.kind == lexer.STRING else cursor.integer()
        defaults.append(default)
        cursor.accept_symbol(",")
    return tuple(columns), tuple(defaults)


def empty(name: str, description: str) -> None:
    """Register a view that has no rows here."""
    view(name, description)(lambda context: ())


def find(schema: str, name: str) -> CatalogueTable | None:
    """Return a view by lower-case schema and name."""
    from etl_cli.sandbox.standin.catalogue import (  # noqa: F401  (they register)
        indexes,
        information,
        objects,
        server,
        tracking,
        types,
    )

    return _TABLES.get((schema, name))
