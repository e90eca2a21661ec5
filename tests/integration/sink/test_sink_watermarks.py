"""Watermarks: moved only from where they stood, in the transaction of the rows; set and forgotten by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.watermarks import (
    WatermarkId,
    move_watermark,
    own_watermark,
    read_watermarks,
    reset_watermark,
    set_watermark,
)
from etl_cli.runtime.sink.connect import SinkConnection
from tests.support.database import SinkDatabase

MARK = WatermarkId("orders", "dbo.orders", "shard1")
MOMENT = "2026-01-01 00:00:00.1234567"
LATER = "2026-01-02 00:00:00.7654321"


@pytest.fixture
def connection(sink: SinkDatabase, connection: SinkConnection) -> SinkConnection:
    ledger = Ledger(connection)
    for pipeline in ("orders", "others"):
        ledger.register(pipeline, "7f3a9c1e")
    return connection


def move(
    connection: SinkConnection,
    position: tuple[str, ...],
    before: tuple[str, ...] | None,
    *,
    run_id: int | None = 1,
    mark: WatermarkId = MARK,
) -> None:
    move_watermark(connection, mark, "at", position, scope="x", before=before, run_id=run_id)


def position(connection: SinkConnection, mark: WatermarkId = MARK) -> tuple[str, ...] | None:
    found = read_watermarks(connection, mark.pipeline).get((mark.source_table, mark.shard))
    return found.position if found else None


def test_a_table_that_was_never_read_has_none(connection: SinkConnection) -> None:
    assert read_watermarks(connection, "orders") == {}
    assert own_watermark(connection, MARK, 1) is None


def test_it_is_kept_as_the_sources_own_text_at_full_scale(connection: SinkConnection) -> None:
    """Trap 7."""
    move(connection, (MOMENT, "7"), None)
    found = read_watermarks(connection, "orders")["dbo.orders", "shard1"]
    assert (found.cursor, found.value, found.position, found.run_id) == ("at", MOMENT, (MOMENT, "7"), 1)
    assert (found.id, found.moved_at is not None) == (MARK, True)


def test_it_moves_from_where_it_stood(connection: SinkConnection) -> None:
    move(connection, (MOMENT, "7"), None)
    move(connection, (MOMENT, "9"), (MOMENT, "7"))
    move(connection, (LATER, "1"), (MOMENT, "9"), run_id=2)
    assert position(connection) == (LATER, "1")
    assert own_watermark(connection, MARK, 2) == (LATER, "1")
    assert own_watermark(connection, MARK, 1) is None, "the first run has not moved it to where it is"


@pytest.mark.parametrize("before", [None, (MOMENT,), (MOMENT, "6"), (LATER, "7"), (MOMENT, "7", "x"), ()])
def test_it_does_not_move_from_anywhere_else(connection: SinkConnection, before: tuple[str, ...] | None) -> None:
    move(connection, (MOMENT, "7"), None)
    with pytest.raises(DataError, match=r"dbo\.orders of shard1: its watermark was moved by somebody else meanwhile"):
        move(connection, (LATER, "1"), before)
    assert position(connection) == (MOMENT, "7")


def test_one_that_was_forgotten_meanwhile_does_not_come_back(connection: SinkConnection) -> None:
    move(connection, (MOMENT, "7"), None)
    reset_watermark(connection, MARK)
    with pytest.raises(DataError, match="moved by somebody else"):
        move(connection, (LATER, "1"), (MOMENT, "7"))
    assert position(connection) is None


def test_of_two_runs_that_begin_at_the_same_place_one_moves_it(sink: SinkDatabase, connection: SinkConnection) -> None:
    move(connection, (MOMENT, "7"), None)
    with sink.open() as first, sink.open() as second, ThreadPoolExecutor(1) as thread:
        with first.transaction():
            move(first, (LATER, "1"), (MOMENT, "7"), run_id=2)
            other = thread.submit(move, second, (LATER, "2"), (MOMENT, "7"), run_id=3)
            with pytest.raises(TimeoutError):
                other.result(0.3)
        with pytest.raises(DataError, match="moved by somebody else"):
            other.result(10)
    assert position(connection) == (LATER, "1")


def test_of_two_first_runs_one_makes_it(sink: SinkDatabase, connection: SinkConnection) -> None:
    with sink.open() as first, sink.open() as second, ThreadPoolExecutor(1) as thread:
        with first.transaction():
            move(first, (LATER, "1"), None, run_id=2)
            other = thread.submit(move, second, (LATER, "2"), None, run_id=3)
            with pytest.raises(TimeoutError):
                other.result(0.3)
        with pytest.raises(DataError, match="moved by somebody else"):
            other.result(10)
    assert position(connection) == (LATER, "1")


def test_it_moves_with_the_transaction_or_not_at_all(connection: SinkConnection) -> None:
    """Trap 2."""
    move(connection, (MOMENT, "7"), None)
    with connection.transaction(force_rollback=True):
        move(connection, (LATER, "1"), (MOMENT, "7"))
    assert position(connection) == (MOMENT, "7")


def test_each_pipeline_table_and_shard_has_its_own(connection: SinkConnection) -> None:
    marks = [
        MARK,
        WatermarkId("orders", "dbo.orders", "shard2"),
        WatermarkId("orders", "dbo.items", "shard1"),
        WatermarkId("others", "dbo.orders", "shard1"),
    ]
    for number, mark in enumerate(marks):
        move(connection, (str(number),), None, mark=mark)
    assert [position(connection, mark) for mark in marks] == [("0",), ("1",), ("2",), ("3",)]
    assert list(read_watermarks(connection, "orders")) == [
        ("dbo.items", "shard1"),
        ("dbo.orders", "shard1"),
        ("dbo.orders", "shard2"),
    ]


@pytest.mark.parametrize("text", ["", "ä'\"\\", "0x00000000000007D1", "1e5", "null", '["x"]'])
def test_any_text_comes_back_as_it_was(connection: SinkConnection, text: str) -> None:
    move(connection, (text, text), None)
    assert position(connection) == (text, text)
    move(connection, ("next",), (text, text))
    assert position(connection) == ("next",)


# by hand


def test_it_can_be_set_wherever_it_was_and_belongs_to_no_run_then(connection: SinkConnection) -> None:
    set_watermark(connection, MARK, "at", MOMENT, "x")
    assert position(connection) == (MOMENT,)
    move(connection, (LATER, "1"), (MOMENT,))
    set_watermark(connection, MARK, "id", "5", "x")
    found = read_watermarks(connection, "orders")["dbo.orders", "shard1"]
    assert (found.cursor, found.value, found.position, found.run_id) == ("id", "5", ("5",), None)
    assert own_watermark(connection, MARK, 1) is None


def test_it_can_be_forgotten_once(connection: SinkConnection) -> None:
    other = WatermarkId("orders", "dbo.orders", "shard2")
    for mark in (MARK, other):
        set_watermark(connection, mark, "at", MOMENT, "x")
    assert reset_watermark(connection, MARK)
    assert not reset_watermark(connection, MARK)
    assert position(connection) is None
    assert position(connection, other) == (MOMENT,)
