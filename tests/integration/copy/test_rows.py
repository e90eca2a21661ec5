"""Bad rows, checksums, lineage, and columns that come, change and go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.planner import make_plan
from tests.support.copying import CHANGING, Make, leftovers, moment, put, rows_of
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.plans import catalogue, config_of, source_table
from tests.support.reading import copied, first_job
from tests.support.source import Shards

ORDERS = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)"
MODES = ["replace", "append", "upsert", "sync"]


def table(mode: str, **keys: object) -> dict[str, object]:
    return {"source": "dbo.orders", "mode": mode, "cursor": "id", "chunk_rows": 4, **keys}


@pytest.fixture
def orders(shards: Shards) -> Shards:
    shards.execute(ORDERS)
    values = ", ".join(f"({n}, N'note {n}')" for n in range(10))
    shards.execute(f"INSERT INTO dbo.orders VALUES {values}")
    return shards


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_row_is_left_out_and_recorded(mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Traps 12 and 13: U+0000 and lone surrogates follow on_bad_row."""
    orders[1].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(0) WHERE id = 3")
    orders[2].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(55357) WHERE id = 8")
    outcome = pipeline(table(mode, on_bad_row="reject", max_rejects=2)).run()
    assert (outcome.totals.rows_read, outcome.totals.rows_loaded) == (40, 38)
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(38,)]
    assert rows_of(sink, "SELECT shard, key, column_name, reason FROM etl.rejects ORDER BY shard") == [
        ("shard2", {"id": "3"}, "note", "holds U+0000"),
        ("shard3", {"id": "8"}, "note", "holds a lone surrogate"),
    ]
    assert rows_of(sink, "SELECT sum(rows_rejected) FROM etl.tasks") == [(2,)]


def test_too_many_bad_rows_end_the_run(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    orders[1].execute("UPDATE dbo.orders SET note = NCHAR(0) WHERE id IN (3, 4)")
    with pytest.raises(EtlError, match=r"2 bad rows, max_rejects is 1; the last: id = 4: note: holds U\+0000"):
        pipeline(table("replace", on_bad_row="reject", max_rejects=1)).run()
    assert rows_of(sink, "SELECT to_regclass('orders')") == [(None,)]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_row_that_the_target_refuses_is_isolated(
    mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(table(mode, on_bad_row="reject", max_rejects=10))
    directory.run()
    with sink.connect() as connection:
        connection.execute("ALTER TABLE orders ADD CONSTRAINT short CHECK (length(note) < 9)")
    orders.execute("INSERT INTO dbo.orders VALUES (10, N'short'), (11, N'much too long'), (12, N'short')")
    directory.run()
    assert rows_of(sink, "SELECT id FROM orders WHERE shard = 'shard1' AND id >= 10 ORDER BY id") == [(10,), (12,)]
    rejects = rows_of(sink, "SELECT key, reason FROM etl.rejects WHERE shard = 'shard1'")
    assert rejects[0][0] == {"id": "11"}
    assert "short" in rejects[0][1]


@pytest.mark.parametrize("mode", MODES)
def test_checksums_agree_over_every_mode(mode: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "" if n % 3 else "grün 😀", moment(n, n)) for n in range(20)])
    directory = pipeline({**table(mode, validate="checksums"), "cursor": "updated_at"})
    assert directory.run().state == "succeeded"
    put(shards, [(n, "more", moment(n)) for n in range(20, 30)])
    outcome = directory.run()
    assert (outcome.state, outcome.tables[0].notes) == ("succeeded", [])
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(120,)]


DAMAGE = """
CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.id = 7 AND NEW.shard = 'shard3' THEN NEW.note := NEW.note || '!'; END IF; RETURN NEW; END $$;
CREATE FUNCTION damage_tables() RETURNS event_trigger LANGUAGE plpgsql AS
$$ DECLARE made record; BEGIN
  FOR made IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands()
    WHERE object_identity ~ '(orders__etl_|etl_staging)' AND object_type = 'table' LOOP
    EXECUTE format(
      'CREATE TRIGGER damage BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.damage()', made.name);
  END LOOP; END $$;
CREATE EVENT TRIGGER damage ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION damage_tables()
"""
"""Alters one value of one shard as it is copied into whatever a run makes."""


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_a_value_that_was_altered_on_the_way_is_found(
    mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(table(mode, validate="checksums"))
    with sink.connect(SUPERUSER) as connection:
        connection.execute(DAMAGE)
    with pytest.raises(EtlError, match=r"dbo\.orders of shard3: the checksums of note differ"):
        directory.run()


def test_checksums_of_a_task_of_which_a_stream_has_none_are_not_compared(
    orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    orders[1].execute("UPDATE dbo.orders SET note = NCHAR(0) WHERE id = 3")
    streams = {"parallelism": {"shards": 4, "streams_per_shard": 3}, "sink": {"max_connections": 16}}
    outcome = pipeline(table("replace", validate="checksums", on_bad_row="reject", max_rejects=1), **streams).run()
    assert outcome.tables[0].notes == [
        "shard2: rows were rejected: checksums were not compared",
        "shard2: 1 bad row was put aside, in etl.rejects",
    ]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(39,)]
    without = rows_of(sink, "SELECT DISTINCT shard FROM etl.tasks WHERE checksums IS NULL")
    assert without == [("shard2",)]


def test_checksums_of_rows_that_an_earlier_try_has_read_are_not_compared(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Without a key they are one chunk, which is there: the source may have been written since."""
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL)", "INSERT INTO dbo.orders VALUES (1), (2)")
    job = first_job(pipeline({"source": "dbo.orders", "validate": "checksums"}), "snapshot")
    first, second = copied(job), copied(job)
    assert first.checksums is not None
    assert (first.notes, second.checksums, second.counted) == ((), None, 2)
    assert second.notes == ("rows were read by an earlier try: checksums were not compared",)


KEYLESS = ("CREATE TABLE dbo.orders (id int NOT NULL, note nvarchar(40) NULL)",
           "INSERT INTO dbo.orders VALUES (6, N'six'), (7, N'seven')")  # fmt: skip


def test_an_altered_value_of_a_table_that_is_appended_to_without_a_key_is_found(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(*KEYLESS)
    directory = pipeline(table("append", validate="checksums"))
    assert directory.run().tables[0].notes == []
    shards.execute("INSERT INTO dbo.orders VALUES (8, N'eight')")
    assert directory.run().tables[0].notes == []
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(12,)]
    shards[2].execute("INSERT INTO dbo.orders VALUES (9, N'nine')")
    with sink.connect(SUPERUSER) as connection:
        connection.execute(DAMAGE.replace("NEW.id = 7", "NEW.id = 9"))
    with pytest.raises(EtlError, match=r"dbo\.orders of shard3: the checksums of note differ"):
        directory.run()


@pytest.mark.parametrize("validate", ["counts", "checksums"])
@pytest.mark.parametrize("type_", ["integer", "bigint"])
def test_rows_of_unknown_age_without_a_key_are_not_appended_to(
    type_: str, validate: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Whether or not they would go through a staging table, they might come twice."""
    shards.execute(*KEYLESS)
    with sink.connect() as connection:
        connection.execute(f"CREATE TABLE orders (id {type_} NOT NULL, note text, shard text NOT NULL)")
        connection.execute("INSERT INTO orders VALUES (6, 'six', 'shard2')")
    with pytest.raises(EtlError, match="without a key they would come twice"):
        pipeline(table("append", validate=validate)).run()
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(1,)]


@pytest.mark.parametrize("isolation", ["snapshot", "read_committed"])
def test_a_table_without_a_column_that_has_a_checksum_is_copied_and_says_so(
    isolation: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (body xml NULL)", "INSERT INTO dbo.orders VALUES (N'<a/>'), (NULL)")
    directory = pipeline({"source": "dbo.orders", "validate": "checksums"}, source={"isolation": isolation})
    outcome = directory.run()
    told = "shard1, shard2, shard3, shard4: no column can be summed: checksums were not compared"
    assert (outcome.totals.rows_loaded, outcome.tables[0].notes) == (8, [told])


def test_checksums_are_refused_on_an_old_server() -> None:
    found = catalogue("shard1", source_table("dbo.t", "id int", primary=["id"]))
    old = replace(found, server=replace(found.server, version="14.0.1000.1"))
    _, problems, _ = make_plan(config_of({"source": "dbo.t", "validate": "checksums"}), [old])
    assert problems == [
        "dbo.t: validate: checksums needs SQL Server 2019 or newer, shard1 is older: use counts",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_lineage_tells_the_run_that_brought_a_row(
    mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(table(mode, lineage=True))
    directory.run()
    orders.execute("INSERT INTO dbo.orders VALUES (20, N'new')")
    directory.run()
    by_run = (
        "SELECT _etl_run_id, count(*) FROM orders WHERE _etl_loaded_at > now() - interval '1h' GROUP BY 1 ORDER BY 1"
    )
    assert rows_of(sink, by_run) == ([(2, 44)] if mode == "replace" else [(1, 40), (2, 4)])


@pytest.mark.parametrize("mode", MODES)
def test_a_new_column_is_added_and_a_type_widened(
    mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 23."""
    directory = pipeline(table(mode))
    directory.run()
    with sink.connect() as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN own int")
    orders.execute(
        "ALTER TABLE dbo.orders ADD amount decimal(10,2) NULL", "INSERT INTO dbo.orders VALUES (20, N'x', 1.5)"
    )
    outcome = directory.run()
    assert rows_of(sink, "SELECT amount, count(*) FROM orders WHERE id = 20 GROUP BY 1") == [(1.5, 4)]
    if mode in ("append", "upsert"):
        assert any("keep NULL" in note and ("reset" in note) == (mode == "upsert") for note in outcome.notes)
    orders.execute("ALTER TABLE dbo.orders ALTER COLUMN amount decimal(18,4) NULL")
    orders.execute("INSERT INTO dbo.orders VALUES (21, N'x', 12345678901234.5678)")
    directory.run()
    assert rows_of(sink, "SELECT amount::text, count(*) FROM orders WHERE id = 21 GROUP BY 1") == [
        ("12345678901234.5678", 4)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_dropped_column_deletes_nothing(mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 23."""
    directory = pipeline(table(mode))
    directory.run()
    orders.execute("ALTER TABLE dbo.orders DROP COLUMN note", "INSERT INTO dbo.orders (id) VALUES (20)")
    directory.run()
    assert rows_of(sink, "SELECT count(note), count(*) FROM orders") == [(40, 44)]


@pytest.mark.parametrize("mode", MODES)
def test_freeze_fails_before_it_reads(mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 23."""
    directory = pipeline(table(mode, schema="freeze"))
    directory.run()
    orders.execute("ALTER TABLE dbo.orders ADD amount int NULL")
    with pytest.raises(EtlError, match=r"new amount.* schema: freeze forbids"):
        directory.run()
    assert rows_of(sink, "SELECT state FROM etl.runs ORDER BY run_id") == [("succeeded",), ("failed",)]
    assert rows_of(sink, "SELECT count(*) FROM etl.tasks WHERE run_id = 2") == [(0,)]


@pytest.mark.parametrize("mode", MODES)
def test_discard_leaves_new_columns_out(mode: str, orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 23."""
    directory = pipeline(table(mode, schema="discard"))
    directory.run()
    orders.execute("ALTER TABLE dbo.orders ADD amount int NULL", "INSERT INTO dbo.orders VALUES (20, N'x', 5)")
    directory.run()
    assert rows_of(sink, "SELECT attname FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0") == [
        ("id",),
        ("note",),
        ("shard",),
    ]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(44,)]
    assert leftovers(sink) == []
