"""Shards that are filled in a moment, and slow to order: a real server cannot be."""

from __future__ import annotations

import pytest

from etl_cli.sandbox.standin.server import StandIn
from tests.support.source import Shards


def standins(shards: Shards) -> list[StandIn]:
    """Of all shards; the test is skipped where they are real servers."""
    found = [shard.server.standin for shard in shards]
    if None in found:
        pytest.skip("a real server cannot be slowed, stalled or filled to order")
    return [standin for standin in found if standin is not None]


def filled(shards: Shards, rows: int = 4_000) -> Shards:
    """The same with dbo.orders (id), so many rows each."""
    for standin, shard in zip(standins(shards), shards, strict=True):
        shard.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)")
        standin.handle(shard.database).load_columns("dbo.orders", {"id": list(range(rows))})
    return shards


def slow(shards: Shards, rows_per_s: float) -> None:
    """Have dbo.orders sent so slowly, until `hurry`."""
    for standin in standins(shards):
        standin.faults.slow_rows("orders", rows_per_s=rows_per_s)


def hurry(shards: Shards) -> None:
    """Take every fault back."""
    for standin in standins(shards):
        standin.faults.clear()
