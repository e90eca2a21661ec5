"""Bad rows that are left out: each is found, recorded with its chunk and counted; the others all arrive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.merge import Counts
from tests.support.chunks import Chunks
from tests.support.plans import table_plan
from tests.support.publishing import value

PLAN = table_plan(
    {"id": "integer", "name": "text"}, ["id"], mode="append", on_bad_row="reject", max_rejects=10, cursor="id"
)


def rejects(connection: SinkConnection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT shard, key, column_name, reason FROM etl.rejects ORDER BY reject_id").fetchall()


def ids(connection: SinkConnection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT id FROM public.orders ORDER BY id").fetchall()]


def held(connection: SinkConnection) -> list[tuple[Any, ...]]:
    columns = "rows_read, rows, rows_rejected, rows_inserted"
    return connection.execute(f"SELECT {columns} FROM etl.chunks ORDER BY number").fetchall()


def test_a_value_that_postgres_cannot_hold_is_left_out_with_its_key_column_and_reason(
    connection: SinkConnection,
) -> None:
    """Traps 12 and 13."""
    chunks = Chunks(connection, PLAN, "append")
    chunks.load([(1, "one"), (2, "t\0wo"), (3, "three"), (4, "\0")])
    assert ids(connection) == [1, 3]
    assert rejects(connection) == [
        ("shard1", {"id": "2"}, "name", "holds U+0000"),
        ("shard1", {"id": "4"}, "name", "holds U+0000"),
    ]
    assert held(connection) == [(4, 2, 2, 0)]


def test_a_row_that_the_target_refuses_is_found_among_many(connection: SinkConnection) -> None:
    chunks = Chunks(connection, PLAN, "append")
    connection.execute("ALTER TABLE public.orders ADD CHECK (name <> 'bad')")
    bad = {0, 7, 8, 99}
    chunks.load([(number, "bad" if number in bad else "good") for number in range(100)])
    assert ids(connection) == [number for number in range(100) if number not in bad]
    found = rejects(connection)
    assert sorted(int(key["id"]) for _, key, _, _ in found) == sorted(bad)
    assert all("violates check constraint" in reason for *_, reason in found)
    assert held(connection) == [(100, 96, 4, 0)]


@pytest.mark.parametrize("how", ["merge", "insert"])
def test_a_row_that_a_merge_would_refuse_is_found_before_it(connection: SinkConnection, how: str) -> None:
    connection.execute("CREATE TABLE public.orders (id integer PRIMARY KEY, name text NOT NULL CHECK (name <> 'bad'))")
    chunks = Chunks(connection, PLAN, how)
    assert chunks.load([(1, "one"), (2, None), (3, "bad"), (4, "four")]) == Counts(inserted=2)
    assert ids(connection) == [1, 4]
    assert [(key, column) for _, key, column, _ in rejects(connection)] == [({"id": "2"}, "name"), ({"id": "3"}, None)]
    assert held(connection) == [(4, 2, 2, 2)]


def test_a_chunk_of_bad_rows_alone_is_a_chunk(connection: SinkConnection) -> None:
    chunks = Chunks(connection, PLAN, "append")
    chunks.load([(1, "\0"), (2, "\0")])
    assert (ids(connection), held(connection)) == ([], [(2, 0, 2, 0)])


def test_one_bad_row_too_many_fails_the_chunk_and_nothing_of_it_stays(connection: SinkConnection) -> None:
    chunks = Chunks(connection, replace(PLAN, max_rejects=2), "append")
    chunks.load([(1, "one"), (2, "\0"), (3, "\0")])
    with pytest.raises(
        DataError, match=r"dbo\.orders of shard1: 3 bad rows, max_rejects is 2; the last: id = 5"
    ) as caught:
        chunks.load([(4, "four"), (5, "\0")])
    assert "raise max_rejects" in caught.value.remedy
    assert ids(connection) == [1]
    assert len(rejects(connection)) == 2


def test_the_limit_holds_for_the_table_over_all_shards(connection: SinkConnection) -> None:
    plan = replace(PLAN, key=("id", "shard"), shard_column="shard", max_rejects=2)
    chunks = Chunks(connection, plan, "append")
    chunks.load([(1, "\0")], "shard1")
    chunks.load([(1, "\0"), (2, "two")], "shard2")
    with pytest.raises(DataError, match="of shard2: 3 bad rows"):
        chunks.load([(3, "\0")], "shard2")
    assert [shard for shard, *_ in rejects(connection)] == ["shard1", "shard2"]


def test_the_limit_is_that_of_a_run(connection: SinkConnection) -> None:
    plan = replace(PLAN, max_rejects=1)
    for _ in range(2):
        Chunks(connection, plan, "append").load([(1, "\0")])
    assert len(rejects(connection)) == 2


def test_by_default_a_bad_row_fails_its_chunk(connection: SinkConnection) -> None:
    chunks = Chunks(connection, replace(PLAN, on_bad_row="fail"), "append")
    with pytest.raises(DataError, match=r"column name holds U\+0000 in the row with id = 2"):
        chunks.load([(1, "one"), (2, "\0")])
    assert (ids(connection), rejects(connection), held(connection)) == ([], [], [])


def test_a_table_without_a_key_records_its_bad_rows_too(connection: SinkConnection) -> None:
    plan = table_plan({"name": "text"}, mode="append", on_bad_row="reject", max_rejects=1)
    Chunks(connection, plan, "append").load([("one",), ("\0",)])
    assert value(connection, "SELECT name FROM public.orders") == "one"
    assert rejects(connection) == [("shard1", {}, "name", "holds U+0000")]


def test_a_reason_that_holds_u0000_itself_can_be_recorded(connection: SinkConnection) -> None:
    plan = table_plan({"id": "text", "name": "text"}, ["id"], mode="append", on_bad_row="reject", max_rejects=1)
    Chunks(connection, plan, "append").load([("a\0b", "one"), ("c", "two")])
    assert [key for _, key, _, _ in rejects(connection)] == [{"id": "a\\x00b"}]
