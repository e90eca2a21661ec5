"""Which catalogue views there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin.types import SqlType

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

Maker = Callable[["ExecutionContext"], Iterable[tuple[Any, ...]]]


@dataclass(frozen=True)
class CatalogueTable:
    """A view of the catalogue: its columns, and the function that makes its rows."""

    columns: tuple[tuple[str, SqlType], ...]
    rows: Maker


_TABLES: dict[tuple[str, str], CatalogueTable] = {}


def view(name: str, **columns: SqlType) -> Callable[[Maker], Maker]:
    """Register a view by schema.name; its maker yields rows of these columns."""
    schema, _, own = name.lower().partition(".")

    def keep(maker: Maker) -> Maker:
        _TABLES[schema, own] = CatalogueTable(tuple(columns.items()), maker)
        return maker

    return keep


def find(schema: str, name: str) -> CatalogueTable | None:
    """Return a view by lower-case schema and name."""
    from etl_cli.sandbox.standin.catalogue import information, objects, server  # noqa: F401  (they register)

    return _TABLES.get((schema, name))
