"""What the copying tests share: a table of orders that changes, and queries on the sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

Make = Callable[..., PipelineDirectory]

CHANGING = (
    "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL,"
    " updated_at datetime2(7) NOT NULL, version rowversion)"
)


def moment(second: int, fraction: int = 0) -> str:
    """A datetime2(7) literal: so many seconds and 100 ns after the start of 2026."""
    return f"'2026-01-01 {second // 3600:02d}:{second % 3600 // 60:02d}:{second % 60:02d}.{fraction:07d}'"


def put(shards: Shards, rows: Iterable[tuple[int, str, str]]) -> None:
    """Insert (id, note, updated_at) on every shard."""
    values = ", ".join(f"({number}, N'{note}', {at})" for number, note, at in rows)
    shards.execute(f"INSERT INTO dbo.orders (id, note, updated_at) VALUES {values}")


def rows_of(sink: SinkDatabase, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with sink.connect() as connection:
        return connection.execute(query).fetchall()


def leftovers(sink: SinkDatabase) -> list[str]:
    """The tables that runs have left beside targets."""
    return [
        name for (name,) in rows_of(sink, "SELECT relname FROM pg_class WHERE relname ~ '__etl_' AND relkind = 'r'")
    ]
