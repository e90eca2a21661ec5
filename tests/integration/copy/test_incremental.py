"""Modes append and upsert: watermarks, bounds, lookback, ties."""

from __future__ import annotations

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import CHANGING, Make, leftovers, moment, put, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards, TestShard

UPSERT = {"source": "dbo.orders", "mode": "upsert", "cursor": "updated_at", "chunk_rows": 3}
APPEND = {"source": "dbo.orders", "mode": "append", "cursor": "id", "chunk_rows": 3}


def test_upsert_brings_only_what_is_above_the_watermark(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "old", moment(n)) for n in range(10)])
    directory = pipeline(UPSERT)
    first = directory.run()
    assert first.totals.rows_read == 40
    shards.execute(
        f"UPDATE dbo.orders SET note = N'new', updated_at = {moment(100)} WHERE id = 3",
        f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (10, N'added', {moment(101)})",
    )
    second = directory.run()
    assert second.totals.rows_read == 8
    assert rows_of(sink, "SELECT note, count(*) FROM orders GROUP BY note ORDER BY note") == [
        ("added", 4),
        ("new", 4),
        ("old", 36),
    ]
    assert rows_of(sink, "SELECT rows_inserted, rows_updated FROM etl.tasks WHERE run_id = 2") == [(1, 1)] * 4
    assert directory.run().totals.rows_read == 0
    assert leftovers(sink) == []


def test_a_watermark_has_the_full_scale_of_the_source(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 7: a datetime2(7) cursor is kept as the server's own text: no row is skipped, none comes again."""
    shards.execute(CHANGING)
    put(shards, [(1, "a", moment(1, 1234567)), (2, "b", moment(1, 1234568))])
    directory = pipeline(UPSERT)
    directory.run()
    assert rows_of(sink, "SELECT DISTINCT value FROM etl.watermarks") == [("2026-01-01 00:00:01.1234568",)]
    assert directory.run().totals.rows_read == 0
    put(shards, [(3, "c", moment(1, 1234569))])
    assert directory.run().totals.rows_read == 4
    assert rows_of(sink, "SELECT count(*), count(DISTINCT updated_at) FROM orders") == [(12, 1)]


def test_ties_of_the_cursor_are_not_passed_over_between_chunks(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 4: rows that share a cursor value go over several chunks."""
    shards.execute(CHANGING)
    put(shards, [(n, "tie", moment(5)) for n in range(20)])
    pipeline(UPSERT).run()
    assert rows_of(sink, "SELECT count(*), count(DISTINCT id) FROM orders") == [(80, 20)]


def test_append_inserts_and_goes_on(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "x", moment(n + 5)) for n in range(-5, 5)])
    directory = pipeline(APPEND)
    assert directory.run().totals.rows_read == 40
    put(shards, [(n, "y", moment(n)) for n in range(5, 9)])
    assert directory.run().totals.rows_read == 16
    assert rows_of(sink, "SELECT count(*), min(id), max(id) FROM orders") == [(56, -5, 8)]
    assert rows_of(sink, "SELECT DISTINCT value FROM etl.watermarks") == [("8",)]


def test_append_into_a_table_without_a_key(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (at datetime2(3) NOT NULL, note nvarchar(10) NULL)")
    shards.execute(*(f"INSERT INTO dbo.orders VALUES ({moment(n)}, N'x')" for n in (1, 1, 2)))
    directory = pipeline({"source": "dbo.orders", "mode": "append", "cursor": "at", "chunk_rows": 1})
    assert directory.run().totals.rows_read == 12
    shards.execute(f"INSERT INTO dbo.orders VALUES ({moment(3)}, N'y')")
    assert directory.run().totals.rows_read == 4
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(16,)]


def test_append_leaves_a_row_that_is_there_already_as_it_is_and_says_so(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(CHANGING)
    put(shards, [(1, "x", moment(1))])
    directory = pipeline({**APPEND, "cursor": "updated_at"})
    directory.run()
    shards.execute(f"UPDATE dbo.orders SET note = N'y', updated_at = {moment(9)}")
    notes = directory.run().tables[0].notes
    assert notes == [
        "shard1, shard2, shard3, shard4: 1 rows were there already and stay as they are; mode upsert would update them"
    ]
    assert rows_of(sink, "SELECT DISTINCT note FROM orders") == [("x",)]


def late_commit(shard: TestShard, statement: str) -> object:
    """A session that has written and not committed."""
    connection = shard.connect()
    connection.autocommit = False
    connection.execute(statement)
    return connection


@pytest.mark.parametrize(("lookback", "found"), [("0s", 0), ("1m", 1)])
@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_a_row_that_commits_late_is_found_by_the_lookback_and_only_by_it(
    mode: str, lookback: str, found: int, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 3."""
    shards.execute(CHANGING)
    put(shards, [(1, "early", moment(100))])
    directory = pipeline({**UPSERT, "mode": mode, "lookback": lookback})
    late = late_commit(shards[0], f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (2, N'late', {moment(150)})")
    put_on_first = f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (3, N'later', {moment(160)})"
    shards[0].execute(put_on_first)
    directory.run()
    late.commit()  # type: ignore[attr-defined]
    late.close()  # type: ignore[attr-defined]
    directory.run()
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE note = 'late'") == [(found,)]
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (id, shard)) FROM orders") == [(5 + found, 5 + found)]
    assert rows_of(sink, "SELECT value FROM etl.watermarks WHERE shard = 'shard1'") == [
        ("2026-01-01 00:02:40.0000000",)
    ]


def test_a_rowversion_stops_below_the_oldest_open_transaction(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 3: the bound is MIN_ACTIVE_ROWVERSION()."""
    shards.execute(CHANGING)
    put(shards, [(1, "early", moment(1))])
    directory = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "version"})
    late = late_commit(shards[0], f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (2, N'late', {moment(2)})")
    shards[0].execute(f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (3, N'later', {moment(3)})")
    directory.run()
    assert rows_of(sink, "SELECT note FROM orders WHERE shard = 'shard1' ORDER BY id") == [("early",)]
    late.commit()  # type: ignore[attr-defined]
    late.close()  # type: ignore[attr-defined]
    directory.run()
    assert rows_of(sink, "SELECT note FROM orders WHERE shard = 'shard1' ORDER BY id") == [
        ("early",),
        ("late",),
        ("later",),
    ]
    shards[0].execute("UPDATE dbo.orders SET note = N'again' WHERE id = 1")
    assert directory.run().totals.rows_read == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("tinyint", ("1", "2", "255")),
        ("bigint", ("-9223372036854775808", "0", "9223372036854775807")),
        ("decimal(38,0)", ("-99999999999999999999999999999999999999", "0", "99999999999999999999999999999999999999")),
        ("date", ("'0001-01-01'", "'1582-10-10'", "'9999-12-31'")),
        ("datetime", ("'1753-01-01'", "'2026-01-01 00:00:00.003'", "'2026-01-01 00:00:00.007'")),
        ("smalldatetime", ("'1900-01-01'", "'2026-01-01 00:01'", "'2079-06-06'")),
        ("datetime2(0)", ("'0001-01-01'", "'2026-01-01'", "'9999-12-31 23:59:59'")),
        ("datetime2(7)", ("'0001-01-01'", "'2026-01-01 00:00:00.0000001'", "'9999-12-31 23:59:59.9999999'")),
        (
            "datetimeoffset(7)",
            ("'0001-01-02 00:00 +14:00'", "'2026-01-01 00:00:00.0000001 +01:00'", "'2026-01-01 00:00:00 -01:00'"),
        ),
    ],
)
def test_cursors_of_every_type_move_on(
    kind: str, values: tuple[str, str, str], shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(f"CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, c {kind} NOT NULL)")
    directory = pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "c", "chunk_rows": 1})
    for number, value in enumerate(values):
        shards.execute(f"INSERT INTO dbo.orders VALUES ({number}, {value})")
        assert directory.run().totals.rows_read == 4, value
    assert directory.run().totals.rows_read == 0
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(12,)]


def test_a_uniqueidentifier_is_refused_as_cursor_with_the_reason(shards: Shards, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, c uniqueidentifier NOT NULL)")
    with pytest.raises(EtlError, match=r"uniqueidentifier, whose values do not grow, .* last bytes first"):
        pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "c"}).run()


def test_an_older_version_does_not_replace_a_newer_one(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 18: a target row gives way when its cursor is not higher."""
    shards.execute(CHANGING)
    put(shards, [(1, "source", moment(10))])
    directory = pipeline(UPSERT)
    directory.run()
    with sink.connect() as connection:
        connection.execute("UPDATE orders SET note = 'newer', updated_at = '2027-01-01' WHERE shard = 'shard1'")
    shards.execute(f"UPDATE dbo.orders SET note = N'next', updated_at = {moment(20)}")
    directory.run()
    assert rows_of(sink, "SELECT note FROM orders ORDER BY shard") == [("newer",), ("next",), ("next",), ("next",)]


def test_without_a_shard_column_a_key_from_two_shards_is_an_error(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 18."""
    shards.execute(CHANGING)
    for number, shard in enumerate(shards):
        shard.execute(f"INSERT INTO dbo.orders (id, note, updated_at) VALUES ({number}, N'x', {moment(1)})")
    directory = pipeline({**UPSERT, "shard_column": None})
    assert directory.run().totals.rows_read == 4
    assert leftovers(sink) == []
    shards[0].execute(f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (9, N'x', {moment(2)})")
    shards[3].execute(f"INSERT INTO dbo.orders (id, note, updated_at) VALUES (9, N'y', {moment(2)})")
    with pytest.raises(EtlError, match=r"the key .*9.* comes from shard\d and from shard\d"):
        directory.run()


def test_a_part_can_be_read_again_without_disturbing_the_rest(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "x", moment(n)) for n in range(6)])
    directory = pipeline(UPSERT)
    directory.run()
    before = rows_of(sink, "SELECT * FROM etl.watermarks ORDER BY shard")
    with sink.connect() as connection:
        connection.execute("UPDATE orders SET note = 'damaged'")
    assert directory.cli("run", "--where", "id = 2", "--shard", "shard2").code == 0
    assert rows_of(sink, "SELECT id, shard FROM orders WHERE note = 'x'") == [(2, "shard2")]
    assert rows_of(sink, "SELECT * FROM etl.watermarks ORDER BY shard") == before
    assert directory.cli("run", "--full", "--shard", "shard3").code == 0
    assert rows_of(sink, "SELECT shard, count(*) FROM orders WHERE note = 'x' GROUP BY shard ORDER BY shard") == [
        ("shard2", 1),
        ("shard3", 6),
    ]
    assert [row[:6] for row in rows_of(sink, "SELECT * FROM etl.watermarks ORDER BY shard")] == [r[:6] for r in before]


def test_state_shows_sets_and_forgets(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(CHANGING)
    put(shards, [(n, "x", moment(n)) for n in range(6)])
    directory = pipeline(UPSERT)
    directory.run()
    shown = directory.state("show", "--json").data
    assert [(mark["id"]["shard"], mark["value"]) for mark in shown] == [
        (f"shard{n}", "2026-01-01 00:00:05.0000000") for n in range(1, 5)
    ]
    refused = directory.state("reset")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert directory.state("set", "--table", "dbo.orders", "--value", "soon", "--yes").code == 2
    assert directory.state("set", "--table", "dbo.orders", "--value", "2026-01-01 00:00:03", "--yes").code == 0
    assert directory.run().totals.rows_read == 8
    assert directory.state("reset", "--table", "dbo.orders", "--shard", "shard1", "--yes").code == 0
    assert directory.run().totals.rows_read == 6


def test_append_does_not_count_rows_that_were_there(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2)")
    directory = pipeline({"source": "dbo.orders", "mode": "append", "cursor": "id"})
    assert "mode append: 8 inserted, 0 updated" in directory.cli("run").out
    assert "mode append: 0 inserted, 0 updated" in directory.cli("run", "--full").out


def test_an_empty_condition_is_refused(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    done = pipeline({"source": "dbo.orders"}).cli("run", "--where", " ")
    assert (done.code, "--where is empty" in done.err) == (2, True)
