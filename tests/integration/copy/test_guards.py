"""What would lose rows quietly is refused or mended: half shards, and watermarks that do not fit their target."""

from __future__ import annotations

from typing import Any

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import CHANGING, Make, moment, put, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards, TestShard

UPSERT = {"source": "dbo.orders", "mode": "upsert", "cursor": "updated_at", "chunk_rows": 3}
CHANGES = {"source": "dbo.orders", "mode": "changes"}


@pytest.fixture
def filled(shards: Shards) -> Shards:
    shards.execute(CHANGING)
    put(shards, [(n, "old", moment(n)) for n in range(10)])
    return shards


def fail_once(shard: TestShard, after_rows: int) -> None:
    if shard.server.standin is None:
        pytest.skip("a real server has no errors to order")
    shard.server.standin.faults.error("orders", 208, after_rows=after_rows)


def track(shards: Shards) -> None:
    for shard in shards:
        shard.execute(
            f"ALTER DATABASE {shard.database} SET CHANGE_TRACKING = ON",
            "ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING",
        )


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("mode", ["replace", "sync"])
def test_half_a_shard_never_becomes_visible(
    mode: str, streams: int, filled: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 21: a shard that fails after some chunks keeps its old rows, and the others show their new ones."""
    directory = pipeline(
        {"source": "dbo.orders", "mode": mode, "chunk_rows": 2},
        error_handling={"on_shard_failure": "continue"},
        parallelism={"streams_per_shard": streams},
        sink={"max_connections": 16},
    )
    for expected in ([("shard1", "old"), ("shard3", "old"), ("shard4", "old")],
                     [("shard1", "new"), ("shard3", "new"), ("shard4", "new")]):  # fmt: skip
        fail_once(filled[1], 2)
        with pytest.raises(EtlError, match="shard2"):
            directory.run()
        assert (
            rows_of(sink, "SELECT shard, min(note) FROM orders GROUP BY 1 HAVING count(*) = 10 ORDER BY 1") == expected
        )
        assert rows_of(sink, "SELECT count(*) FROM orders") == [(30,)]
        filled.execute(f"UPDATE dbo.orders SET note = N'new', updated_at = {moment(99)}")


@pytest.mark.parametrize("what", ["DROP TABLE orders", "TRUNCATE orders"])
def test_watermarks_of_rows_that_are_gone_are_refused(
    what: str, filled: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(UPSERT)
    directory.run()
    with sink.connect() as connection:
        connection.execute(what)
    with pytest.raises(EtlError, match="but it has watermarks: `etl-cli state reset NAME` reads everything"):
        directory.run()
    assert directory.state("reset", "--yes").code == 0
    assert directory.run().totals.rows_read == 40


@pytest.mark.parametrize("change", [{"target": "others"}, {"where": "id >= 0"}])
def test_a_watermark_tells_of_one_target_and_one_condition(
    change: dict[str, Any], filled: Shards, pipeline: Make
) -> None:
    directory = pipeline({**UPSERT, "where": "id < 5"})
    directory.run()
    directory.change(tables=[{**UPSERT, "where": "id < 5", **change}])
    with pytest.raises(EtlError, match="watermark"):
        directory.run()


def test_a_run_whose_watermarks_were_reset_is_not_resumed(filled: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline(UPSERT)
    fail_once(filled[1], 7)
    with pytest.raises(EtlError):
        directory.run()
    with sink.connect() as connection:
        connection.execute("TRUNCATE orders")
    assert directory.state("reset", "--yes").code == 0
    done = directory.cli("run", "--resume", "--json")
    assert any("cannot be resumed" in note for note in done.data["notes"])
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(40,)]


def test_a_run_is_not_resumed_from_another_database(filled: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 20."""
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 3})
    fail_once(filled[1], 7)
    with pytest.raises(EtlError):
        directory.run()
    shards = filled.config()["shards"]
    shards[0]["port"], shards[1]["port"] = shards[1]["port"], shards[0]["port"]
    shards[0]["database"], shards[1]["database"] = shards[1]["database"], shards[0]["database"]
    directory.change(source={"shards": shards})
    done = directory.cli("run", "--resume", "--json")
    assert any("have changed since" in note for note in done.data["notes"])


def test_changes_after_another_mode_begin_with_everything(filled: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    track(filled)
    directory = pipeline({**UPSERT, "cursor": "id"})
    directory.run()
    filled.execute("DELETE FROM dbo.orders WHERE id < 3")
    directory.change(tables=[CHANGES])
    assert directory.run().totals.rows_read == 28
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(28,)]


def test_a_source_that_was_restored_is_noticed(filled: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    track(filled)
    directory = pipeline(CHANGES)
    directory.run()
    with sink.connect() as connection:
        connection.execute("""UPDATE etl.watermarks SET value = '999', position = '["999"]' WHERE shard = 'shard2'""")
    with pytest.raises(EtlError, match=r"up to version 999, the server is at .* --full"):
        directory.run()


def test_a_row_that_moves_to_another_shard_is_not_lost(filled: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    filled.execute("DELETE FROM dbo.orders")
    track(filled)
    put_one = "INSERT INTO dbo.orders (id, note, updated_at) VALUES"
    for number, shard in enumerate(filled):
        shard.execute(f"{put_one} ({number}, N'x', {moment(1)})")
    directory = pipeline({**CHANGES, "shard_column": None}, connection={"retries": 5, "retry_delay": "1s"})
    directory.run()
    filled[0].execute("DELETE FROM dbo.orders WHERE id = 0")
    filled[1].execute(f"{put_one} (0, N'moved', {moment(2)})")
    done = directory.cli("run")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT id, note FROM orders WHERE id = 0") == [(0, "moved")]


@pytest.mark.parametrize("options", [["--full"], ["--where", "id = 12"]])
def test_append_goes_on_after_a_part_was_read(
    options: list[str], filled: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({**UPSERT, "mode": "append", "cursor": "id"})
    directory.run()
    put(filled, [(n, "more", moment(n)) for n in range(10, 15)])
    assert directory.cli("run", *options).code == 0
    directory.run()
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (id, shard)) FROM orders") == [(60, 60)]


@pytest.mark.parametrize("mode", ["append", "upsert", "sync", "changes"])
def test_keys_that_would_fall_together_are_refused(mode: str, shards: Shards, pipeline: Make) -> None:
    """Traps 7 and 8: Postgres keeps six digits of a second."""
    shards.execute("CREATE TABLE dbo.orders (at datetime2(7) NOT NULL PRIMARY KEY, n int NOT NULL)")
    with pytest.raises(EtlError, match="keeps six digits: rows could fall together"):
        pipeline({"source": "dbo.orders", "mode": mode, "cursor": "n"}).run()


def test_reference_systems_do_not_mix_over_runs(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, at geography NULL)")
    shards.execute("INSERT INTO dbo.orders VALUES (1, geography::STGeomFromText('POINT(1 2)', 4326))")
    directory = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "id"})
    directory.run()
    assert rows_of(sink, "SELECT col_description('orders'::regclass, 2)") == [("WKB, SRID 4326",)]
    shards.execute("INSERT INTO dbo.orders VALUES (2, geography::STGeomFromText('POINT(1 2)', 4258))")
    with pytest.raises(EtlError, match="mixes the reference systems 4258, 4326"):
        directory.run()
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(4,)]


def test_a_deferrable_key_is_refused_before_anything_is_read(
    filled: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    with sink.open() as connection:
        connection.execute("CREATE TABLE orders (id int, note text, shard text, PRIMARY KEY (id, shard) DEFERRABLE)")
    done = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "id"}).cli("run")
    assert done.code == 1
    assert "orders_pkey is deferrable" in done.err
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(0,)]


def test_values_of_a_unique_column_that_change_places_between_chunks_fail_with_what_to_do(
    filled: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Nothing of the chunk arrives; mode sync brings it about."""
    rows = "SELECT shard, id, updated_at FROM orders ORDER BY 1, 2"
    upsert = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "id", "chunk_rows": 1})
    upsert.run()
    with sink.open() as connection:
        connection.execute("ALTER TABLE orders ADD CONSTRAINT one_moment UNIQUE (updated_at, shard)")
    before = rows_of(sink, rows)
    for number, other in ((0, 1), (1, 0)):
        filled.execute(f"UPDATE dbo.orders SET updated_at = {moment(other)} WHERE id = {number}")
    done = upsert.cli("run", "--full")
    assert (done.code, "one_moment" in done.err, "use mode sync" in done.err) == (1, True, True), done.err
    assert rows_of(sink, rows) == before
    pipeline({"source": "dbo.orders", "mode": "sync"}).run()
    assert rows_of(sink, rows) != before
