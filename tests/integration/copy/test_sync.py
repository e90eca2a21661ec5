"""Mode sync: the target becomes the source, and what changed is counted, marked and recorded."""

from __future__ import annotations

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import CHANGING, Make, moment, put, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards

SYNC = {"source": "dbo.orders", "mode": "sync", "chunk_rows": 4}
CHANGES = (
    f"UPDATE dbo.orders SET note = N'new', updated_at = {moment(99)} WHERE id = 1",
    "DELETE FROM dbo.orders WHERE id = 2",
    f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (7, N'added', {moment(99)})",
)


@pytest.fixture
def loaded(shards: Shards) -> Shards:
    shards.execute(CHANGING)
    put(shards, [(n, "old", moment(n)) for n in range(6)])
    return shards


def test_sync_inserts_updates_and_deletes_and_counts_them(loaded: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline(SYNC)
    directory.run()
    before = rows_of(sink, "SELECT xmin::text, ctid::text FROM orders WHERE id IN (0, 3, 4, 5) ORDER BY id, shard")
    loaded.execute(*CHANGES)
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.how, published.inserted, published.updated, published.deleted) == ("difference", 4, 4, 4)
    assert rows_of(sink, "SELECT id, note FROM orders WHERE shard = 'shard1' ORDER BY id") == [
        (0, "old"),
        (1, "new"),
        (3, "old"),
        (4, "old"),
        (5, "old"),
        (7, "added"),
    ]
    same = rows_of(sink, "SELECT xmin::text, ctid::text FROM orders WHERE id IN (0, 3, 4, 5) ORDER BY id, shard")
    assert same == before, "equal rows are not written"


def test_each_change_is_recorded_when_asked(loaded: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({**SYNC, "track_changes": True})
    directory.run()
    loaded.execute(*CHANGES)
    directory.run()
    assert rows_of(
        sink,
        "SELECT run_id, operation, old->>'note', new->>'note', coalesce(new, old)->>'id' FROM orders_changes"
        " WHERE coalesce(new, old)->>'shard' = 'shard3' ORDER BY operation",
    ) == [(2, "delete", "old", None, "2"), (2, "insert", None, "added", "7"), (2, "update", "old", "new", "1")]


def test_deleted_rows_are_marked_when_asked_and_unmarked_when_they_return(
    loaded: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({**SYNC, "soft_delete": True})
    directory.run()
    loaded.execute("DELETE FROM dbo.orders WHERE id = 2")
    deleted = directory.run().tables[0].published
    assert deleted is not None
    assert deleted.deleted == 4
    marked = "SELECT count(*) FROM orders WHERE _etl_deleted_at IS NOT NULL AND id = 2"
    assert rows_of(sink, marked) == [(4,)]
    again = directory.run().tables[0].published
    assert again is not None
    assert (again.inserted, again.updated, again.deleted) == (0, 0, 0)
    put(loaded, [(2, "old", moment(2))])
    back = directory.run().tables[0].published
    assert back is not None
    assert (back.updated, rows_of(sink, marked)) == (4, [(0,)])


def test_a_key_of_two_shards_is_an_error_without_a_shard_column(
    loaded: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    with pytest.raises(EtlError, match="not unique"):
        pipeline({**SYNC, "shard_column": None}).run()
    assert rows_of(sink, "SELECT to_regclass('orders')") == [(None,)]


def test_one_shard_can_be_synced_alone(loaded: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline(SYNC)
    directory.run()
    loaded.execute(*CHANGES)
    assert directory.cli("run", "--shard", "shard2").code == 0
    assert rows_of(sink, "SELECT DISTINCT shard FROM orders WHERE note <> 'old'") == [("shard2",)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(24,)]


def test_one_shard_of_a_replaced_table_can_be_read_again(loaded: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"})
    directory.run()
    loaded.execute(*CHANGES)
    assert directory.cli("run", "--shard", "shard2", "--shard", "shard4").code == 0
    assert rows_of(sink, "SELECT DISTINCT shard FROM orders WHERE note <> 'old' ORDER BY 1") == [
        ("shard2",),
        ("shard4",),
    ]


@pytest.mark.parametrize("mode", ["replace", "sync"])
def test_a_failed_shard_keeps_its_rows_with_continue(
    mode: str, loaded: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 21."""
    directory = pipeline({**SYNC, "mode": mode}, error_handling={"on_shard_failure": "continue"})
    directory.run()
    loaded.execute(*CHANGES)
    shards = loaded.config()["shards"]
    shards[2]["port"] = 1
    directory.change(source={"shards": shards})
    with pytest.raises(EtlError, match="shard3"):
        directory.run()
    assert rows_of(sink, "SELECT shard, count(*) FROM orders WHERE note <> 'old' GROUP BY 1 ORDER BY 1") == [
        ("shard1", 2),
        ("shard2", 2),
        ("shard4", 2),
    ]
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE shard = 'shard3'") == [(6,)]
    assert rows_of(sink, "SELECT state FROM etl.runs ORDER BY run_id") == [("succeeded",), ("failed",)]


def test_a_shard_that_fails_in_mid_read_keeps_its_rows_with_continue(
    loaded: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 21."""
    directory = pipeline(SYNC, error_handling={"on_shard_failure": "continue"})
    directory.run()
    loaded.execute(*CHANGES)
    standin = loaded[1].server.standin
    if standin is None:
        pytest.skip("a real server has no errors to order")
    standin.faults.error("orders", 208, after_rows=1, times=None)
    with pytest.raises(EtlError, match="shard2"):
        directory.run()
    standin.faults.clear()
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE shard = 'shard2' AND note = 'old'") == [(6,)]
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE shard <> 'shard2' AND note <> 'old'") == [(6,)]


def test_one_emptied_shard_is_refused(loaded: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 16."""
    directory = pipeline(SYNC)
    directory.run()
    loaded[3].execute("DELETE FROM dbo.orders")
    with pytest.raises(EtlError, match=r"is empty on shard4, .* allow_empty: true"):
        directory.run()
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(24,)]
