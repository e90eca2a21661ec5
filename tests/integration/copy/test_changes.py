"""Mode changes: SQL Server's Change Tracking."""

from __future__ import annotations

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards

CHANGES = {"source": "dbo.orders", "mode": "changes", "chunk_rows": 2}


@pytest.fixture
def tracked(shards: Shards) -> Shards:
    for shard in shards:
        shard.execute(
            f"ALTER DATABASE {shard.database} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)",
            "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)",
            "ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING",
            "INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b'), (3, N'c'), (4, N'd'), (5, N'e')",
        )
    return shards


def notes(sink: SinkDatabase, shard: str = "shard1") -> list[tuple[object, ...]]:
    return rows_of(sink, f"SELECT id, note FROM orders WHERE shard = '{shard}' ORDER BY id")


def test_the_first_run_reads_everything_and_the_next_only_what_changed(
    tracked: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(CHANGES)
    assert directory.run().totals.rows_read == 20
    tracked.execute(
        "UPDATE dbo.orders SET note = N'B' WHERE id = 2",
        "DELETE FROM dbo.orders WHERE id IN (3, 4)",
        "INSERT INTO dbo.orders VALUES (6, N'f'), (7, N'g')",
        "DELETE FROM dbo.orders WHERE id = 7",
    )
    outcome = directory.run()
    assert outcome.totals.rows_read == 20  # five keys a shard have changed, one of them came and went
    assert notes(sink) == [(1, "a"), (2, "B"), (5, "e"), (6, "f")]
    assert (
        rows_of(sink, "SELECT rows_inserted, rows_updated, rows_deleted FROM etl.tasks WHERE run_id = 2")
        == [(1, 1, 2)] * 4
    )
    assert directory.run().totals.rows_read == 0


def test_deletes_are_marked_and_changes_recorded_when_asked(
    tracked: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({**CHANGES, "soft_delete": True, "track_changes": True})
    directory.run()
    tracked.execute("DELETE FROM dbo.orders WHERE id = 3", "UPDATE dbo.orders SET note = N'A' WHERE id = 1")
    directory.run()
    assert rows_of(sink, "SELECT id FROM orders WHERE _etl_deleted_at IS NOT NULL AND shard = 'shard1'") == [(3,)]
    assert rows_of(
        sink,
        "SELECT operation, old->>'note', new->>'note' FROM orders_changes"
        " WHERE coalesce(new, old)->>'shard' = 'shard1' AND run_id = 2 ORDER BY 1",
    ) == [("delete", "c", None), ("update", "a", "A")]


def test_a_condition_of_the_configuration_lets_rows_leave(tracked: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({**CHANGES, "where": "note <> N'hidden'"})
    directory.run()
    tracked.execute("UPDATE dbo.orders SET note = N'hidden' WHERE id = 2")
    directory.run()
    assert [number for number, _ in notes(sink)] == [1, 3, 4, 5]


def test_an_exceeded_retention_is_a_clear_failure_and_a_full_read_goes_on(
    tracked: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(CHANGES)
    directory.run()
    tracked.execute("DELETE FROM dbo.orders WHERE id = 1")
    standin = tracked[1].server.standin
    if standin is None:
        pytest.skip("a real server keeps its changes for days")
    standin.handle(tracked[1].database).expire_changes("dbo.orders")
    with pytest.raises(EtlError, match=r"shard2: its changes since version \d+ are no longer kept .* --full"):
        directory.run()
    assert notes(sink, "shard2")[0] == (1, "a")
    assert directory.cli("run", "--full").code == 0
    assert notes(sink, "shard2")[0] == (2, "b")
    assert directory.run().totals.rows_read == 0


def test_tables_that_are_not_tracked_are_refused_with_the_statement(shards: Shards, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
    with pytest.raises(EtlError, match="change tracking is off: ALTER DATABASE"):
        pipeline(CHANGES).run()
    for shard in shards:
        shard.execute(f"ALTER DATABASE {shard.database} SET CHANGE_TRACKING = ON")
    with pytest.raises(EtlError, match="changes are not tracked: ALTER TABLE"):
        pipeline(CHANGES).run()
