"""Mode replace, from four shards into one table."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from etl_cli.runtime.progress import Progress
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

Make = Callable[..., PipelineDirectory]

ORDERS = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)"


def fill(shards: Shards, rows: int, table: str = "dbo.orders") -> None:
    """The same ids on every shard, the shard's name in the note."""
    for shard in shards:
        statements = []
        for start in range(0, rows, 500):
            values = ", ".join(f"({n}, N'{shard.name} {n}')" for n in range(start, min(start + 500, rows)))
            statements.append(f"INSERT INTO {table} VALUES {values}")
        shard.execute(*statements)


def rows_of(sink: SinkDatabase, query: str) -> list[tuple[object, ...]]:
    with sink.connect() as connection:
        return connection.execute(query).fetchall()


def test_rows_of_all_shards_stand_in_one_table(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(ORDERS)
    fill(shards, 1_200)
    outcome = pipeline({"source": "dbo.orders", "chunk_rows": 500}).run()
    assert outcome.state == "succeeded"
    assert rows_of(sink, "SELECT shard, count(*), count(DISTINCT id) FROM orders GROUP BY shard ORDER BY shard") == [
        (f"shard{n}", 1_200, 1_200) for n in range(1, 5)
    ]
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE note <> shard || ' ' || id") == [(0,)]


def test_the_key_ends_with_the_shard_column(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(ORDERS)
    fill(shards, 3)
    pipeline({"source": "dbo.orders"}).run()
    assert rows_of(sink, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'orders_pkey'") == [
        ("PRIMARY KEY (id, shard)",)
    ]


def test_comments_and_not_null_come_with_the_table(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(
        ORDERS,
        "EXEC sys.sp_addextendedproperty N'MS_Description', N'what''s ordered', N'SCHEMA', N'dbo', N'TABLE', N'orders'",
        "EXEC sys.sp_addextendedproperty N'MS_Description', N'free text', N'SCHEMA', N'dbo', N'TABLE', N'orders',"
        " N'COLUMN', N'note'",
    )
    fill(shards, 1)
    pipeline({"source": "dbo.orders"}).run()
    assert rows_of(sink, "SELECT obj_description('orders'::regclass), col_description('orders'::regclass, 2)") == [
        ("what's ordered", "free text")
    ]
    assert rows_of(
        sink, "SELECT attname FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 AND attnotnull"
    ) == [("id",), ("shard",)]


def test_every_chunk_is_in_the_ledger_and_the_sums_agree(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(ORDERS)
    fill(shards, 1_100)
    outcome = pipeline({"source": "dbo.orders", "chunk_rows": 500}).run()
    chunks = rows_of(sink, "SELECT shard, rows, after_key, last_key FROM etl.chunks ORDER BY shard, committed_at")
    assert [row[:3] for row in chunks if row[0] == "shard2"] == [
        ("shard2", 500, ""),
        ("shard2", 500, '["499"]'),
        ("shard2", 100, '["999"]'),
    ]
    assert rows_of(sink, "SELECT sum(rows), sum(bytes) FROM etl.chunks") == [
        (outcome.totals.rows_loaded, outcome.totals.bytes)
    ]
    assert rows_of(sink, "SELECT state, rows_read, rows_loaded FROM etl.runs") == [("succeeded", 4_400, 4_400)]
    assert rows_of(sink, "SELECT DISTINCT state, rows_counted FROM etl.tasks") == [("applied", 1_100)]


def test_a_second_run_replaces_what_is_there(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(ORDERS)
    fill(shards, 10)
    directory = pipeline({"source": "dbo.orders"})
    directory.run()
    shards[0].execute("DELETE FROM dbo.orders WHERE id < 5", "UPDATE dbo.orders SET note = N'new' WHERE id = 7")
    outcome = directory.run()
    assert outcome.tables[0].published is not None
    assert outcome.tables[0].published.how == "swap"
    assert rows_of(sink, "SELECT count(*), count(*) FILTER (WHERE note = 'new') FROM orders") == [(35, 1)]
    assert leftovers(sink) == []


def test_a_table_that_others_hang_on_is_changed_by_difference(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(ORDERS)
    fill(shards, 10)
    directory = pipeline({"source": "dbo.orders"})
    directory.run()
    with sink.connect() as connection:
        connection.execute("CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders")
    shards[0].execute("DELETE FROM dbo.orders WHERE id < 5", "UPDATE dbo.orders SET note = N'new' WHERE id = 7")
    shards[1].execute("INSERT INTO dbo.orders VALUES (100, NULL)")
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.how, published.inserted, published.updated, published.deleted) == ("difference", 1, 1, 5)
    assert leftovers(sink) == []


def test_a_table_without_key_is_one_chunk_a_shard(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NULL, note nvarchar(40) NULL)")
    fill(shards, 900)
    pipeline({"source": "dbo.orders", "chunk_rows": 100}).run()
    assert rows_of(sink, "SELECT count(*) FROM etl.chunks") == [(4,)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(3_600,)]


def test_an_empty_table_is_created(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(ORDERS)
    pipeline({"source": "dbo.orders"}).run()
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(0,)]


def test_patterns_copy_what_matches_but_what_is_excluded(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    for name in ("one", "two", "old_three"):
        shards.execute(f"CREATE TABLE dbo.{name} (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
        fill(shards, 2, f"dbo.{name}")
    pipeline(
        {"source": "dbo.*", "exclude": ["dbo.old_*"]},
        {"source": "dbo.two", "where": "id = 1"},
        defaults={"shard_column": "origin"},
    ).run()
    assert rows_of(sink, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1") == [
        ("one",),
        ("two",),
    ]
    assert rows_of(sink, "SELECT count(*), count(DISTINCT origin) FROM one") == [(8, 4)]
    assert rows_of(sink, "SELECT count(*) FROM two") == [(4,)]


def test_without_a_shard_column_keys_are_unique_over_all_shards(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(ORDERS)
    for n, shard in enumerate(shards):
        shard.execute(f"INSERT INTO dbo.orders VALUES ({n}, NULL)")
    directory = pipeline({"source": "dbo.orders", "shard_column": None})
    directory.run()
    assert rows_of(sink, "SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,), (3,)]
    shards[3].execute("INSERT INTO dbo.orders VALUES (0, NULL)")
    done = directory.cli("run")
    assert done.code == 1
    assert "the key (id) is not unique" in done.err
    assert rows_of(sink, "SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,), (3,)]


def test_odd_names_arrive(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 14: every identifier is quoted on both sides."""
    shards.execute(
        "CREATE TABLE dbo.[Order Details] ([Order Id] int NOT NULL PRIMARY KEY,"
        ' [select] int NULL, [a"b] int NULL, [ü]]] int NULL)',
        "INSERT INTO dbo.[Order Details] VALUES (1, 2, 3, 4)",
    )
    pipeline({"source": "dbo.Order Details", "names": "keep"}).run()
    assert rows_of(sink, 'SELECT DISTINCT "Order Id", "select", "a""b", "ü]" FROM "Order Details"') == [(1, 2, 3, 4)]


def test_a_count_that_is_not_what_was_read_fails_the_run(
    shards: Shards, sink: SinkDatabase, pipeline: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 1: completeness is proved by a count, not by silence."""
    from etl_cli.runtime.job import SNAPSHOT
    from tests.support.reading import LyingCursor, copied_with

    shards.execute(ORDERS)
    fill(shards, 10)
    directory = pipeline({"source": "dbo.orders"})
    error = copied_with(directory, LyingCursor, SNAPSHOT)
    assert "the source counts 11 rows, 10 were read" in str(error)


def test_progress_tells_rows_shares_and_the_slower_side(shards: Shards, pipeline: Make) -> None:
    shards.execute(ORDERS)
    fill(shards, 700)
    progress = Progress()
    pipeline({"source": "dbo.orders", "chunk_rows": 200}).run(progress)
    assert {task.state for task in progress.tasks.values()} == {"applied"}
    assert {task.moved.rows_read for task in progress.tasks.values()} == {700}
    assert {task.expected for task in progress.tasks.values()} == {700}
    assert all(task.moved.slower_side in ("source", "sink", "client") for task in progress.tasks.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_only_what_a_resumption_needs(
    number: signal.Signals, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(ORDERS)
    fill(shards, 5_000)
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 500})
    _slow_rows(shards)
    process = subprocess.Popen(
        directory.command("run"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_interrupts,
    )
    _wait_for_chunks(sink)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    told, last = err.splitlines()
    assert told.startswith("run 1 was interrupted: `etl-cli run ")
    assert last == "etl-cli: interrupted"
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("interrupted",)]
    assert leftovers(sink) == [("public", "orders__etl_1_0")]
    assert directory.cli("run").code == 0
    assert leftovers(sink) == []


def test_a_killed_run_ends_with_its_workers_and_the_next_run_tidies_up(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 19: leftovers of dead runs are removed."""
    shards.execute(ORDERS)
    fill(shards, 5_000)
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 500})
    directory.change(defaults={"allow_empty": True})
    _slow_rows(shards)
    process = subprocess.Popen(
        directory.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    _wait_for_chunks(sink)
    workers = [p for p in psutil.process_iter() if _session_of(p.pid) == process.pid and p.pid != process.pid]
    process.kill()
    process.wait()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    assert leftovers(sink) != []
    _full_speed(shards)
    outcome = directory.run()
    assert outcome.totals.rows_loaded == 20_000
    assert rows_of(sink, "SELECT state FROM etl.runs ORDER BY run_id") == [("interrupted",), ("succeeded",)]
    assert leftovers(sink) == []


def _hear_interrupts() -> None:
    """What a shell starts in the background ignores them, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def leftovers(sink: SinkDatabase) -> list[tuple[object, ...]]:
    """Tables that are neither a target nor the ledger's."""
    return rows_of(sink, "SELECT schemaname, tablename FROM pg_tables WHERE tablename LIKE '%\\_\\_etl\\_%'")


def _slow_rows(shards: Shards) -> None:
    for shard in shards:
        if shard.server.standin is None:
            pytest.skip("a real server cannot be slowed to order")
        shard.server.standin.faults.slow_rows("orders", rows_per_s=1_500)


def _full_speed(shards: Shards) -> None:
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()


def _wait_for_chunks(sink: SinkDatabase) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        exists = rows_of(sink, "SELECT to_regclass('etl.chunks') IS NOT NULL")[0][0]
        if exists and rows_of(sink, "SELECT count(*) FROM etl.chunks")[0][0]:
            return
        time.sleep(0.05)
    raise AssertionError("no chunk was committed within 30 s")


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def test_an_identity_goes_on_after_the_copied_rows(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 24."""
    shards.execute(ORDERS)
    fill(shards, 10)
    with sink.connect() as connection:
        connection.execute(
            "CREATE TABLE orders (id integer GENERATED BY DEFAULT AS IDENTITY, note text, shard text DEFAULT 'here',"
            " PRIMARY KEY (id, shard))"
        )
    pipeline({"source": "dbo.orders"}).run()
    with sink.connect() as connection:
        row = connection.execute("INSERT INTO orders (note) VALUES ('by hand') RETURNING id").fetchone()
    assert row == (10,)
