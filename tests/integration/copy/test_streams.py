"""Several streams a shard: ranges without gaps or overlaps; care for the source."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.copying import CHANGING, Make, leftovers, moment, put, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards

STREAMS = {"parallelism": {"shards": 4, "streams_per_shard": 3}, "sink": {"max_connections": 16}}


@pytest.mark.parametrize(
    "ids",
    [range(-500, 500), [n * n * n for n in range(-40, 40)], [*range(90), 10**9], [1], [1, 2], []],
    ids=["negative", "sparse", "skewed", "one", "two", "none"],
)
def test_a_task_is_split_without_gaps_or_overlaps(
    ids: list[int], shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
    for start in range(0, len(ids), 500):
        values = ", ".join(f"({n}, N'x')" for n in ids[start : start + 500])
        shards.execute(f"INSERT INTO dbo.orders VALUES {values}")
    outcome = pipeline({"source": "dbo.orders", "chunk_rows": 50}, **STREAMS).run()
    assert outcome.totals.rows_read == 4 * len(ids)
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (id, shard)) FROM orders") == [(4 * len(ids),) * 2]
    streams = rows_of(sink, "SELECT count(DISTINCT stream) FROM etl.chunks WHERE shard = 'shard1'")[0][0]
    assert streams == min(3, len(ids))


def test_a_composite_key_with_uniqueidentifiers_is_split_by_the_server(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 5: bounds are compared in SQL Server only."""
    shards.execute(
        "CREATE TABLE dbo.orders (tenant nvarchar(10) NOT NULL, id uniqueidentifier NOT NULL, n int NOT NULL,"
        " PRIMARY KEY (tenant, id))"
    )
    for start in range(0, 600, 200):
        values = ", ".join(f"(N'{'abé'[n % 3]}', NEWID(), {n})" for n in range(start, start + 200))
        shards.execute(f"INSERT INTO dbo.orders VALUES {values}")
    pipeline({"source": "dbo.orders", "chunk_rows": 37}, **STREAMS).run()
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (n, shard)) FROM orders") == [(2_400, 2_400)]


@pytest.mark.parametrize("mode", ["append", "upsert", "sync"])
def test_other_modes_are_split_too(mode: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "x", moment(n // 4)) for n in range(100)])
    directory = pipeline({"source": "dbo.orders", "mode": mode, "cursor": "updated_at", "chunk_rows": 7}, **STREAMS)
    directory.run()
    put(shards, [(n, "y", moment(n)) for n in range(100, 150)])
    assert directory.run().totals.rows_read == (600 if mode == "sync" else 200)
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (id, shard)) FROM orders") == [(600, 600)]
    if mode != "sync":
        assert rows_of(sink, "SELECT DISTINCT value FROM etl.watermarks") == [("2026-01-01 00:02:29.0000000",)]
        assert directory.run().totals.rows_read == 0
    assert leftovers(sink) == []


def test_rows_come_no_faster_than_the_source_may_give_them(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
    values = ", ".join(f"({n}, N'x')" for n in range(600))
    shards.execute(f"INSERT INTO dbo.orders VALUES {values}")
    began = time.monotonic()
    pipeline({"source": "dbo.orders"}, source={"max_rows_per_s": 300}).run()
    assert time.monotonic() - began > 2
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(2_400,)]


def test_a_shard_sees_no_more_connections_than_allowed(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    if shards[0].server.standin is None:
        pytest.skip("the connections of a real server are not counted")
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
    values = ", ".join(f"({n}, N'x')" for n in range(900))
    shards.execute(f"INSERT INTO dbo.orders VALUES {values}")
    counters = shards[0].server.standin.counters
    before, most = counters.snapshot()["open_connections"], 0
    directory = pipeline(
        {"source": "dbo.orders"},
        parallelism={"shards": 4, "streams_per_shard": 6},
        source={"max_connections": 1},
        sink={"max_connections": 16},
    )
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(directory.cli, "run")
        while not running.done():
            most = max(most, counters.snapshot()["open_connections"] - before)
            time.sleep(0.002)
    assert running.result().code == 0
    assert most == 1
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(3_600,)]
