"""Chunks that are merged into their target: which version of a row wins, what is deleted, what is recorded."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.difference import apply_difference
from etl_cli.runtime.sink.merge import Counts, create_changes_table
from etl_cli.runtime.sink.shadow import Shadow
from tests.support.chunks import Chunks, target_of
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.plans import column_plan, table_plan
from tests.support.publishing import insert, rows_of, value

STAMP = "timestamp(6) without time zone"
UPSERT = table_plan({"id": "integer", "at": STAMP, "name": "text"}, ["id"], mode="upsert", cursor="at")
SHARDED = replace(UPSERT, key=("id", "shard"), shard_column="shard")
CHANGES = table_plan({"id": "integer", "name": "text"}, ["id", "shard"], mode="changes", shard_column="shard")


def at(second: int, microsecond: int = 0) -> dt.datetime:
    return dt.datetime(2026, 1, 1, 0, 0, second, microsecond)


def versions(connection: SinkConnection) -> dict[int, str]:
    """Which transaction wrote each row."""
    return dict(connection.execute("SELECT id, xmin::text FROM public.orders").fetchall())


# upsert


def test_new_rows_are_inserted_changed_ones_updated_and_equal_ones_skipped(connection: SinkConnection) -> None:
    """Trap 18: an equal row is not written again, so that nobody downstream takes it for a change."""
    chunks = Chunks(connection, UPSERT, "merge")
    assert chunks.load([(1, at(1), "one"), (2, at(1), "two"), (3, at(1), None)]) == Counts(inserted=3)
    before = versions(connection)
    assert chunks.load([(2, at(1), "two"), (3, at(2), "three"), (4, at(2), "four")]) == Counts(1, 1, 0)
    assert rows_of(connection) == [
        (1, at(1), "one"),
        (2, at(1), "two"),
        (3, at(2), "three"),
        (4, at(2), "four"),
    ]
    after = versions(connection)
    assert (after[1], after[2]) == (before[1], before[2])
    assert after[3] != before[3]


def test_what_a_chunk_changed_is_in_its_ledger_row(connection: SinkConnection) -> None:
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "one"), (2, at(1), "two")])
    chunks.load([(1, at(1), "one"), (2, at(2), "TWO"), (3, at(2), "three")])
    columns = "rows_read, rows, rows_inserted, rows_updated, rows_deleted"
    found = connection.execute(f"SELECT {columns} FROM etl.chunks ORDER BY number").fetchall()
    assert found == [(2, 2, 2, 0, 0), (3, 3, 1, 1, 0)]


@pytest.mark.parametrize(
    ("here", "comes", "wins"),
    [
        (at(5), at(4), "old"),
        (at(5, 1), at(5, 0), "old"),
        (at(5), at(5), "new"),
        (at(5), at(6), "new"),
        (None, at(1), "new"),
        (at(5), None, "new"),
    ],
)
def test_a_target_row_gives_way_only_where_its_cursor_is_not_higher(
    connection: SinkConnection, here: dt.datetime | None, comes: dt.datetime | None, wins: str
) -> None:
    """Trap 18."""
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, here, "old")])
    chunks.load([(1, comes, "new")])
    assert value(connection, "SELECT name FROM public.orders") == wins


def test_of_two_versions_of_a_key_in_one_chunk_the_one_read_later_wins(connection: SinkConnection) -> None:
    """Trap 18: the scan goes along the cursor at the source's full precision, so the later one has the higher."""
    chunks = Chunks(connection, UPSERT, "merge")
    rows = [(1, at(1), "first"), (2, at(1), "two"), (1, at(1), "second"), (1, at(2), "third")]
    assert chunks.load(rows) == Counts(inserted=2)
    assert rows_of(connection) == [(1, at(2), "third"), (2, at(1), "two")]
    assert chunks.load([(1, at(3), "fourth"), (1, at(3), "fifth")]) == Counts(updated=1)
    assert rows_of(connection)[0] == (1, at(3), "fifth")


def test_a_key_that_comes_again_in_a_later_chunk_is_the_later_ones(connection: SinkConnection) -> None:
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "first")])
    chunks.load([(1, at(1), "second")])
    assert rows_of(connection) == [(1, at(1), "second")]


def test_a_chunk_that_fails_changes_nothing(connection: SinkConnection) -> None:
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "one")])

    def breaks() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        chunks.load([(1, at(2), "ONE"), (2, at(2), "two")], before_the_end=breaks)
    assert rows_of(connection) == [(1, at(1), "one")]
    assert value(connection, "SELECT count(*) FROM etl.chunks") == 1


def test_an_empty_chunk_changes_nothing(connection: SinkConnection) -> None:
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "one")])
    assert chunks.load([]) == Counts()
    assert rows_of(connection) == [(1, at(1), "one")]


def test_a_rowversion_alone_is_no_change(connection: SinkConnection) -> None:
    """Trap 11."""
    columns = [
        column_plan("id", "integer", nullable=False),
        column_plan("name", "text"),
        column_plan("v", "bytea", source_type="rowversion"),
    ]
    chunks = Chunks(connection, table_plan(columns, ["id"], mode="upsert"), "merge")
    chunks.load([(1, "one", b"\0" * 8), (2, "two", b"\0" * 8)])
    assert chunks.load([(1, "one", b"\1" * 8), (2, "TWO", b"\1" * 8)]) == Counts(updated=1)
    assert rows_of(connection) == [(1, "one", b"\0" * 8), (2, "TWO", b"\1" * 8)]


def test_lineage_tells_the_run_that_changed_a_row_and_is_no_change_itself(connection: SinkConnection) -> None:
    plan = replace(UPSERT, lineage=True)
    first = Chunks(connection, plan, "merge")
    first.load([(1, at(1), "one"), (2, at(1), "two")])
    second = Chunks(connection, plan, "merge")
    assert second.load([(1, at(1), "one"), (2, at(2), "TWO")]) == Counts(updated=1)
    found = connection.execute('SELECT id, "_etl_run_id" FROM public.orders ORDER BY id').fetchall()
    assert found == [(1, first.run_id), (2, second.run_id)]


def test_a_wider_column_of_the_target_is_compared_and_written_as_its_own_type(connection: SinkConnection) -> None:
    plan = table_plan({"id": "integer", "name": "numeric(10,2)"}, ["id"], mode="upsert")
    connection.execute("CREATE TABLE public.orders (id bigint PRIMARY KEY, name numeric(12,4))")
    chunks = Chunks(connection, plan, "merge")
    chunks.load([(1, 1), (2, 2)])
    assert chunks.load([(1, 1), (2, 3)]) == Counts(updated=1)
    assert connection.execute("SELECT id, name::text FROM public.orders ORDER BY id").fetchall() == [
        (1, "1.0000"),
        (2, "3.0000"),
    ]


# keys of several shards


def test_with_a_shard_column_each_shard_has_its_own_row_of_a_key(connection: SinkConnection) -> None:
    chunks = Chunks(connection, SHARDED, "merge")
    chunks.load([(1, at(1), "one")], "shard1")
    chunks.load([(1, at(1), "eins")], "shard2")
    assert rows_of(connection, order="id, shard") == [(1, at(1), "one", "shard1"), (1, at(1), "eins", "shard2")]


def test_without_a_shard_column_a_key_of_two_shards_is_refused(connection: SinkConnection) -> None:
    """Trap 18: which of the two rows would win is not for us to say."""
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "one"), (2, at(1), "two")], "shard1")
    chunks.load([(3, at(1), "drei")], "shard2")
    with pytest.raises(DataError, match=r"the key id = 2 comes from shard1 and from shard2") as caught:
        chunks.load([(4, at(1), "vier"), (2, at(9), "zwei")], "shard2")
    assert "keep `shard_column`" in caught.value.remedy
    assert [row[2] for row in rows_of(connection)] == ["one", "two", "drei"]


def test_without_a_shard_column_a_shard_may_bring_its_own_key_again(connection: SinkConnection) -> None:
    chunks = Chunks(connection, UPSERT, "merge")
    chunks.load([(1, at(1), "one")], "shard1")
    chunks.load([(1, at(2), "ONE"), (1, at(3), "once more")], "shard1")
    assert rows_of(connection) == [(1, at(3), "once more")]


def test_a_key_that_another_run_brought_from_another_shard_is_an_update(connection: SinkConnection) -> None:
    """A row may move between shards; only within a run two shards with one key are an error."""
    Chunks(connection, UPSERT, "merge").load([(1, at(1), "one")], "shard1")
    Chunks(connection, UPSERT, "merge").load([(1, at(2), "eins")], "shard2")
    assert rows_of(connection) == [(1, at(2), "eins")]


# append with a lookback


def test_rows_that_are_there_already_are_not_inserted_again(connection: SinkConnection) -> None:
    """Trap 3: a lookback reads rows again."""
    plan = replace(UPSERT, mode="append")
    chunks = Chunks(connection, plan, "insert")
    assert chunks.load([(1, at(1), "one"), (2, at(2), "two")]) == Counts(inserted=2)
    assert chunks.load([(2, at(2), "TWO"), (3, at(3), "three"), (3, at(3), "THREE")]) == Counts(inserted=1)
    assert rows_of(connection) == [(1, at(1), "one"), (2, at(2), "two"), (3, at(3), "THREE")]


def test_rows_without_a_key_are_all_inserted_also_where_the_target_is_wider(connection: SinkConnection) -> None:
    connection.execute("CREATE TABLE public.orders (id bigint, name text)")
    chunks = Chunks(connection, table_plan({"id": "integer", "name": "text"}, mode="append"), "insert")
    assert chunks.load([(1, "one"), (1, "one")]) == Counts(inserted=2)
    assert chunks.load([(1, "one")]) == Counts(inserted=1)
    assert rows_of(connection) == [(1, "one")] * 3


# changes


def test_changes_insert_update_and_delete(connection: SinkConnection) -> None:
    chunks = Chunks(connection, CHANGES, "changes")
    assert chunks.load([(1, "one", "U"), (2, "two", "U"), (3, "three", "U")]) == Counts(inserted=3)
    changed = chunks.load([(1, None, "D"), (2, "two", "U"), (3, "THREE", "U"), (4, "four", "U"), (9, None, "D")])
    assert changed == Counts(inserted=1, updated=1, deleted=1)
    assert rows_of(connection) == [(2, "two", "shard1"), (3, "THREE", "shard1"), (4, "four", "shard1")]


def test_the_changes_of_a_shard_leave_the_rows_of_the_others_alone(connection: SinkConnection) -> None:
    chunks = Chunks(connection, CHANGES, "changes")
    for shard in ("shard1", "shard2"):
        chunks.load([(1, "one", "U"), (2, "two", "U")], shard)
    chunks.load([(1, None, "D"), (2, "TWO", "U")], "shard2")
    assert rows_of(connection, order="id, shard") == [(1, "one", "shard1"), (2, "two", "shard1"), (2, "TWO", "shard2")]


def test_without_a_shard_column_a_delete_of_another_shard_leaves_the_row(connection: SinkConnection) -> None:
    """A row that moves between shards: that it is gone from where it was says nothing of where it is."""
    plan = replace(CHANGES, key=("id",), shard_column=None)
    chunks = Chunks(connection, plan, "changes")
    chunks.load([(1, "one", "U")], "shard1")
    chunks.load([(1, None, "D")], "shard2")
    assert rows_of(connection) == [(1, "one")]
    chunks.load([(1, None, "D")], "shard1")
    chunks.load([(1, "two", "U")], "shard2")
    assert rows_of(connection) == [(1, "two")]


# soft delete


SOFT = replace(CHANGES, soft_delete=True)


def marks(connection: SinkConnection) -> dict[int, dt.datetime | None]:
    return dict(connection.execute('SELECT id, "_etl_deleted_at" FROM public.orders').fetchall())


def test_a_deleted_row_is_marked_and_stays(connection: SinkConnection) -> None:
    chunks = Chunks(connection, SOFT, "changes")
    chunks.load([(1, "one", "U"), (2, "two", "U")])
    assert chunks.load([(1, None, "D"), (9, None, "D")]) == Counts(deleted=1)
    found = marks(connection)
    assert found[1] is not None
    assert abs(found[1] - value(connection, "SELECT now()")) < dt.timedelta(minutes=1)
    assert found[2] is None
    assert [row[1] for row in rows_of(connection)] == ["one", "two"]


def test_a_row_is_marked_once_and_keeps_the_time_of_its_end(connection: SinkConnection) -> None:
    chunks = Chunks(connection, SOFT, "changes")
    chunks.load([(1, "one", "U")])
    chunks.load([(1, None, "D")])
    before = marks(connection)
    assert chunks.load([(1, None, "D")]) == Counts()
    assert marks(connection) == before


@pytest.mark.parametrize("name", ["one", "ONE"])
def test_a_row_that_comes_back_loses_its_mark_whether_it_has_changed_or_not(
    connection: SinkConnection, name: str
) -> None:
    chunks = Chunks(connection, SOFT, "changes")
    chunks.load([(1, "one", "U")])
    chunks.load([(1, None, "D")])
    assert chunks.load([(1, name, "U")]) == Counts(updated=1)
    assert marks(connection) == {1: None}
    assert rows_of(connection)[0][1] == name


@pytest.mark.parametrize("plan", [CHANGES, SOFT])
def test_values_of_a_unique_column_may_change_places(connection: SinkConnection, plan: TablePlan) -> None:
    connection.execute("CREATE TABLE public.orders (id integer, name text UNIQUE, shard text, PRIMARY KEY (id, shard))")
    chunks = Chunks(connection, plan, "changes")
    chunks.load([(1, "one", "U"), (2, "two", "U"), (3, "three", "U")])
    assert chunks.load([(1, "two", "U"), (2, "one", "U")]) == Counts(updated=2)
    assert [row[1] for row in rows_of(connection)] == ["two", "one", "three"]


# the change table


def recorded(connection: SinkConnection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT operation, old, new FROM public.orders_changes ORDER BY change_id").fetchall()


def test_the_change_table_holds_each_change_with_the_row_before_and_after(connection: SinkConnection) -> None:
    plan = replace(CHANGES, track_changes=True)
    chunks = Chunks(connection, plan, "changes")
    chunks.load([(1, "one", "U"), (2, "two", "U")])
    connection.execute("DELETE FROM public.orders_changes")
    chunks.load([(1, None, "D"), (2, "TWO", "U"), (3, "three", "U"), (9, None, "D")])
    found = {operation: (old, new) for operation, old, new in recorded(connection)}
    assert found == {
        "delete": ({"id": 1, "name": "one", "shard": "shard1"}, None),
        "update": ({"id": 2, "name": "two", "shard": "shard1"}, {"id": 2, "name": "TWO", "shard": "shard1"}),
        "insert": (None, {"id": 3, "name": "three", "shard": "shard1"}),
    }
    assert value(connection, "SELECT count(DISTINCT run_id) FROM public.orders_changes") == 1
    assert value(connection, "SELECT max(run_id) FROM public.orders_changes") == chunks.run_id


def test_what_does_not_change_is_not_recorded(connection: SinkConnection) -> None:
    chunks = Chunks(connection, replace(CHANGES, track_changes=True), "changes")
    chunks.load([(1, "one", "U")])
    chunks.load([(1, "one", "U"), (9, None, "D")])
    assert [operation for operation, _, _ in recorded(connection)] == ["insert"]


def test_a_chunk_that_fails_records_nothing(connection: SinkConnection) -> None:
    chunks = Chunks(connection, replace(CHANGES, track_changes=True), "changes")
    chunks.load([(1, "one", "U")])
    connection.execute("ALTER TABLE public.orders ADD CHECK (name <> 'bad')")
    with pytest.raises(DataError, match="violates check constraint"):
        chunks.load([(2, "two", "U"), (1, "bad", "U")])
    assert len(recorded(connection)) == 1


def test_a_soft_delete_and_its_return_are_recorded_as_delete_and_update(connection: SinkConnection) -> None:
    chunks = Chunks(connection, replace(SOFT, track_changes=True), "changes")
    for row in [(1, "one", "U"), (1, None, "D"), (1, "one", "U")]:
        chunks.load([row])
    found = recorded(connection)
    assert [operation for operation, _, _ in found] == ["insert", "delete", "update"]
    assert found[2][1]["_etl_deleted_at"] is not None


def test_a_target_with_the_longest_name_has_a_change_table_beside_it(connection: SinkConnection) -> None:
    """Trap 14: the target's part of the name gives way."""
    plan = replace(CHANGES, target_name="x" * 63, track_changes=True)
    Chunks(connection, plan, "changes").load([(1, "one", "U")])
    assert value(connection, f"SELECT count(*) FROM public.{'x' * 55}_changes") == 1


# sync: all rows of some shards


SYNC = replace(CHANGES, mode="sync")


def beside(connection: SinkConnection, rows: list[tuple[Any, ...]]) -> Shadow:
    """A loaded shadow with the plan's columns."""
    connection.execute("DROP TABLE IF EXISTS public.beside; CREATE TABLE public.beside (LIKE public.orders)")
    connection.execute('ALTER TABLE public.beside DROP COLUMN IF EXISTS "_etl_deleted_at"')
    insert(connection, "public.beside", SYNC.target_columns, rows)
    return Shadow("public", "beside")


def synced(connection: SinkConnection, plan: Any, rows: list[tuple[Any, ...]], **options: Any) -> Counts:
    target = target_of(connection, plan)
    shadow = beside(connection, rows)
    with connection.transaction():
        return apply_difference(connection, plan, shadow, target, **options)


ALL = [(1, "one", "shard1"), (2, "two", "shard1"), (1, "eins", "shard2")]


def test_a_part_of_the_shards_changes_and_deletes_only_its_own_rows(connection: SinkConnection) -> None:
    """Trap 21: a failed shard keeps its old rows."""
    assert synced(connection, SYNC, ALL) == Counts(inserted=3)
    counts = synced(connection, SYNC, [(2, "TWO", "shard1"), (3, "three", "shard1")], shards=["shard1"])
    assert counts == Counts(1, 1, 1)
    expected = [(1, "eins", "shard2"), (2, "TWO", "shard1"), (3, "three", "shard1")]
    assert rows_of(connection, order="id, shard") == expected
    assert synced(connection, SYNC, [(1, "EINS", "shard2")]) == Counts(0, 1, 2)


def test_a_row_that_sync_no_longer_finds_is_marked_once_recorded_once_and_may_come_back(
    connection: SinkConnection,
) -> None:
    plan = replace(SYNC, soft_delete=True, track_changes=True)
    synced(connection, plan, ALL, run_id=1)
    assert synced(connection, plan, ALL[1:], run_id=2) == Counts(deleted=1)
    assert synced(connection, plan, ALL[1:], run_id=3) == Counts()
    assert synced(connection, plan, ALL, run_id=4) == Counts(updated=1)
    found = connection.execute("SELECT run_id, operation FROM public.orders_changes ORDER BY change_id").fetchall()
    assert found == [(1, "insert"), (1, "insert"), (1, "insert"), (2, "delete"), (4, "update")]
    assert value(connection, 'SELECT count("_etl_deleted_at") FROM public.orders') == 0


def test_a_change_table_that_the_user_may_not_write_is_an_error_and_changes_nothing(
    sink: SinkDatabase, connection: SinkConnection
) -> None:
    plan = replace(SYNC, track_changes=True)
    with sink.connect(SUPERUSER) as admin:
        create_changes_table(admin, plan)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        synced(connection, plan, ALL)
    assert rows_of(connection) == []


@pytest.mark.parametrize("first", ["brought", "deleted"])
def test_a_row_that_moves_between_shards_outlives_its_delete(
    first: str, sink: SinkDatabase, connection: SinkConnection
) -> None:
    """Trap 18: whichever of both shards comes first, and though the other cannot see yet what it does."""
    plan = table_plan({"id": "integer", "name": "text"}, ["id"], mode="changes")
    chunks = Chunks(connection, plan, "changes")
    chunks.load([(1, "old", "U")], "shard1")
    keys = chunks.destination.keys
    assert keys is not None
    connection.execute(f"DELETE FROM {keys.quoted}")  # as after a first read, which knows no shards
    moves: dict[str, tuple[list[Any], str]] = {
        "brought": ([(1, "new", "U")], "shard2"),
        "deleted": ([(1, None, "D")], "shard1"),
    }
    (other,) = set(moves) - {first}
    with sink.open() as another, ThreadPoolExecutor(max_workers=1) as threads:
        with connection.transaction():
            chunks.load(*moves[first])
            waiting = threads.submit(chunks.load, *moves[other], connection=another)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
        waiting.result(timeout=10)
    assert rows_of(connection) == [(1, "new")]
